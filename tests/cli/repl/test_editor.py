"""/edit in the user's editor."""

import sys
from pathlib import Path

import pytest

from gpt2xl import RequestError
from gpt2xl_cli.repl.editor import edited_text, editor_command


def editor(code: str) -> list[str]:
    """A program that changes the file ``path``."""
    return [sys.executable, "-c", f"import pathlib, sys; path = pathlib.Path(sys.argv[1]); {code}"]


def test_the_editor_changes_the_text() -> None:
    replace = "path.write_bytes(path.read_bytes().replace(b'king', b'queen'))"
    assert edited_text("é\r\nking ", editor(replace)) == "é\r\nqueen "


@pytest.mark.parametrize(("before", "after"), [("a", "a"), ("a\n", "a\n\n")])
def test_a_line_end_of_the_editor_is_left_out(before: str, after: str) -> None:
    assert edited_text(before, editor("path.open('a').write(chr(10))")) == after


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("sys.exit(3)", "ended with status 3: the text stays as it was"),
        ("path.write_bytes(bytes([255]))", "a text that is not UTF-8"),
        ("path.unlink()", "cannot be used as editor: No such file or directory"),
    ],
)
def test_an_editor_that_fails_is_named(code: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        edited_text("a", editor(code))


def test_an_editor_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nothing-here' cannot be used as editor"):
        edited_text("a", [f"{tmp_path}/nothing-here"])


def test_visual_comes_before_editor() -> None:
    assert editor_command({"VISUAL": "code -w", "EDITOR": "vi"}) == ["code", "-w"]
    assert editor_command({"EDITOR": ""}) == []
