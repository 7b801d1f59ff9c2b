"""Lines of a terminal break between words."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2xl_cli.word_wrap import WordWrap, width_of, wrapped

WIDTH = 24


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(WIDTH))


def screen(written: str) -> list[str]:
    """The lines that a terminal of 24 columns shows."""
    lines, column = [""], 0
    while written:
        if written.startswith("\x1b["):
            move, _, written = written[2:].partition("G\x1b[K\n")
            kept = ""
            for character in lines[-1]:
                if width_of(kept) < int(move) - 1:
                    kept += character
            lines, column = [*lines[:-1], kept, ""], 0
            continue
        character, written = written[0], written[1:]
        if character == "\n":
            lines, column = [*lines, ""], 0
            continue
        width = width_of(character)
        if column + width > WIDTH:
            lines, column = [*lines, ""], 0
        lines[-1] += character
        column += width
    return lines


def shown(pieces: list[str]) -> list[str]:
    wrap = WordWrap()
    return screen("".join(map(wrap.add, pieces)))


def test_a_word_that_grows_beyond_the_line_moves_to_the_next() -> None:
    pieces = ["Once upon a", " time, the dau", "ghter of", " the king."]
    assert shown(pieces) == ["Once upon a time, the ", "daughter of the king."]


def test_a_space_at_the_end_of_a_line_is_left_out() -> None:
    assert shown(["x" * WIDTH, "  ", "next"]) == ["x" * WIDTH, "next"]
    assert shown(["x" * WIDTH, " \n", "next"]) == ["x" * WIDTH, "next"]
    assert shown(["x" * WIDTH, "\n\n", "next"]) == ["x" * WIDTH, "", "next"]


def test_a_word_longer_than_a_line_is_left_to_the_terminal() -> None:
    assert shown(["a ", "y" * 60, " b"]) == ["a ", "y" * 24, "y" * 24, "y" * 12 + " b"]


def test_wide_characters_count_twice_and_may_part() -> None:
    assert shown(["王" * 15]) == ["王" * 12, "王" * 3]
    assert shown(["an old word ", "王" * 8]) == ["an old word 王王王王王王", "王王"]
    assert shown(["e\u0301" * 24, " f"]) == ["e\u0301" * 24, "f"]


@given(st.lists(st.text("ab 王\n-", max_size=40)))
def test_pieces_are_shown_as_the_whole_text(pieces: list[str]) -> None:
    text = "".join(pieces)
    lines = shown(pieces)
    assert lines == shown([text])
    assert "".join("".join(lines).split()) == "".join(text.split())
    words = {word for word in text.replace("王", " ").split() if len(word) <= WIDTH}
    found = {word for line in lines for word in line.replace("王", " ").split()}
    assert words - found == set()


def test_styles_stay_with_a_word_that_moves() -> None:
    wrap = WordWrap()
    written = wrap.add("twenty characters pr", lambda text: f"<{text}>" if text else "")
    assert written == "<twenty characters pr>"
    assert wrap.add("incess") == "ince\x1b[19G\x1b[K\n<p><r>incess"


def test_a_very_narrow_terminal_breaks_lines_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    assert WordWrap().add("Once upon a time") == wrapped("Once upon a time") == "Once upon a time"


def test_an_error_line_keeps_commands_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    line = "error: 'a' is a checkpoint, and no bundle: run `gpt2xl export a OUT` first."
    assert wrapped(line).splitlines() == [
        "error: 'a' is a checkpoint, and no",
        "bundle: run `gpt2xl export a OUT` first.",
    ]
    assert wrapped(line, 2).splitlines()[1].startswith("  bundle: ")
    assert wrapped("error: no.") == "error: no."


def test_a_text_is_wrapped_on_a_terminal_only(
    bundle: Path, on_terminal: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "24")
    prompt = "a king of the country had daughters"
    out = on_terminal("generate", "-m", bundle, prompt, "-q", "--greedy", "-n", 1)
    assert out.startswith(b"a king of the country ha\x1b[23G\x1b[K\r\nhad daughters")
    monkeypatch.setenv("TERM", "dumb")
    assert prompt.encode() in on_terminal("generate", "-m", bundle, prompt, "-n", 1, "-q")
    shell = f"generate -m '{bundle}' '{prompt}' --greedy -n 1 -q > '{tmp_path / 'out'}'"
    on_terminal(shell=shell)
    assert (tmp_path / "out").read_text().startswith(prompt)
    error = on_terminal("generate", "-m", bundle, "x", "-k", "-1")
    assert error.replace(b"\r\n", b" ").startswith(b"error: --top-k has to be >= 0 (0 keeps")
    assert max(map(len, error.split(b"\r\n"))) <= 24
