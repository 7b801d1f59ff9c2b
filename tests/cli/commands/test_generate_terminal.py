"""gpt2xl generate on a terminal: a bold prompt, a last line, the hint after the demo's first text."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import gpt2xl
from gpt2xl import GenerationOptions
from gpt2xl_cli.generating import closing
from gpt2xl_cli.generating.closing import HINT, Closing, hint_lines, is_first_demo

ROOT = Path(__file__).parents[3]
Run = Callable[..., CompletedProcess[str]]
Terminal = Callable[..., bytes]
LINE = re.compile(
    rb"\x1b\[2m5 tokens, \d+ tokens/s\. Cut at the length limit; for more: -n 10\x1b\[0m"
)


@pytest.fixture(autouse=True)
def colors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)


def test_the_prompt_is_bold_and_a_dim_line_follows(bundle: Path, on_terminal: Terminal) -> None:
    text = gpt2xl.load(bundle).generate("Once", seed=4, max_new_tokens=5).text
    shown = on_terminal("generate", "-m", bundle, "Once", "-s", 4, "-n", 5)
    first, last, end = shown.rsplit(b"\r\n", 2)
    assert first == b"\x1b[1mOnce\x1b[0m" + text.replace("\n", "\r\n").encode()
    assert LINE.fullmatch(last)
    assert end == b""


def test_without_colours_the_line_is_plain(
    bundle: Path, on_terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = on_terminal("generate", "-m", bundle, "Once", "-s", 4, "-n", 5)
    assert b"\x1b" not in shown
    assert b"\r\n5 tokens, " in shown


@pytest.mark.parametrize("option", ["--quiet", "-q", "--json", "--jsonl"])
def test_an_option_turns_the_line_off(option: str, bundle: Path, on_terminal: Terminal) -> None:
    shown = on_terminal("generate", "-m", bundle, "Once", "-s", 4, "-n", 5, option)
    assert b"limit" not in shown


@pytest.mark.parametrize("piped", ["stdout", "stderr"])
def test_a_pipe_gets_no_line(piped: str, bundle: Path) -> None:
    master, slave = pty.openpty()
    files = {"stdout": slave, "stderr": slave} | {piped: subprocess.PIPE}
    words = ["generate", "-m", str(bundle), "Once", "-s", "4", "-n", "5"]
    command = [sys.executable, "-m", "gpt2xl_cli", *words]
    done = subprocess.run(command, stdin=slave, check=True, **files)  # type: ignore[call-overload]
    os.close(slave)
    text = gpt2xl.load(bundle).generate("Once", seed=4, max_new_tokens=5).text
    assert (done.stdout, done.stderr) == (
        (f"Once{text}\n".encode(), None) if piped == "stdout" else (None, b"")
    )
    os.close(master)


def ended(model: gpt2xl.Model, **options: object) -> tuple[Closing, gpt2xl.Generation]:
    made = GenerationOptions(**options)  # type: ignore[arg-type]
    return Closing(made, model.config.n_positions), model.generate("Once", made)


def test_the_line_says_why_the_text_ended(bundle: Path) -> None:
    model = gpt2xl.load(bundle)
    maker, cut = ended(model, max_new_tokens=7, seed=5)
    assert maker.line(cut).endswith(". Cut at the length limit; for more: -n 14")
    ends = {
        "stop": "The model ended the text",
        "time": "Ended by --max-time",
        "repetition": "Ended since it repeats itself",
        "sentence": "Ended with a sentence; for more: -n 14",
    }
    for reason, words in ends.items():
        assert maker.line(replace(cut, finish_reason=reason)).endswith(f". {words}")  # type: ignore[arg-type]
    at_stop = replace(cut, finish_reason="stop", stop_string="\n")
    assert maker.line(at_stop).endswith(r". Ended at the stop string '\n'")
    one = replace(cut, new_ids=[5], timings=replace(cut.timings, tokens_per_second=None))
    assert maker.line(one).startswith("1 token. ")


def test_the_options_named_for_more_continue_the_same_text(bundle: Path, run: Run) -> None:
    model = gpt2xl.load(bundle)
    maker, cut = ended(model, max_new_tokens=7, ignore_eos=True)
    line = maker.line(cut)
    more = line.partition("for more: ")[2].split()
    done = run("generate", "-m", bundle, "Once", "--ignore-eos", "--no-echo", *more)
    assert done.stdout.startswith(cut.text)
    assert len(done.stdout) > len(cut.text) + 1
    assert f"seed {cut.seed}" in maker.line(replace(cut, finish_reason="time"))


def test_a_full_context_names_the_option_that_goes_on(bundle: Path, run: Run) -> None:
    model = gpt2xl.load(bundle)
    maker, nearly = ended(model, max_new_tokens=60, ignore_eos=True, seed=1)
    room = model.config.n_positions + 1 - len(nearly.prompt_ids)
    assert maker.line(nearly).endswith(f"for more: -n {room}")
    maker, full = ended(model, max_new_tokens=500, ignore_eos=True, seed=1)
    assert len(full.new_ids) == room
    reason, more = maker.line(full).split(". ")[1].split("; for more: ")
    assert reason == f"The context of {model.config.n_positions} tokens is full"
    done = run("generate", "-m", bundle, "Once", "-s", 1, "--ignore-eos", *more.split())
    assert len(done.stdout) > len(full.text) + 5


def test_a_waiting_prompt_says_so(bundle: Path) -> None:
    def waited(*options: str) -> bytes:
        master, slave = pty.openpty()
        command = [sys.executable, "-m", "gpt2xl_cli", "generate", "-m", str(bundle), *options]
        with subprocess.Popen(command, stdin=slave, stdout=subprocess.PIPE, stderr=slave) as run:
            os.write(master, b"Once\n\x04")
            assert run.stdout
            assert run.stdout.read().startswith(b"Once")
        os.close(slave)
        found = b""
        try:
            while piece := os.read(master, 4096):
                found += piece
        except OSError:  # the other end is closed
            pass
        os.close(master)
        return found

    assert b"\x1b[2mType the prompt; Ctrl-D on a line of its own ends it.\x1b[0m" in waited()
    assert b"Ctrl-D" not in waited("--quiet")


def test_the_hint_appears_after_the_demos_first_text_only(
    bundle: Path, on_terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GPT2XL_CACHE", str(tmp_path))
    arguments = ["generate", "Once", "-n", 5, "-s", 1, "--ignore-eos"]
    assert HINT[0].encode() not in on_terminal(*arguments, "-q")
    assert HINT[0].encode() not in on_terminal(*arguments, "-m", bundle)
    assert HINT[0].encode() not in on_terminal(*arguments, "--min-p", 5)  # an error
    shown = on_terminal(*arguments)
    assert shown.index(b"Cut at the length limit") < shown.index(HINT[0].encode())
    assert HINT[0].encode() not in on_terminal(*arguments)


def test_one_of_several_processes_shows_the_hint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GPT2XL_CACHE", str(tmp_path / "new"))
    with ThreadPoolExecutor(8) as threads:
        found = [*threads.map(lambda _: is_first_demo(), range(40))]
    assert sum(found) == 1


def test_a_cache_that_keeps_nothing_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GPT2XL_CACHE", str(tmp_path / "file"))
    assert is_first_demo()


def test_the_hint_names_the_extras_of_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [*hint_lines()] == [*HINT]
    monkeypatch.setattr(closing, "find_spec", lambda name: None if "hub" in name else object())
    last = [*hint_lines()][-1]
    extras = last.removeprefix("They need: pip install 'gpt2xl").removesuffix("'")
    assert f'pip install ".{extras}"' in (ROOT / "README.md").read_text("utf-8")


def test_a_prompt_that_names_a_file_is_told_so(
    bundle: Path, on_terminal: Terminal, place: None
) -> None:
    Path("king.txt").write_text("The king")
    words = ("generate", "-m", bundle, "king.txt", "-s", 4, "-n", 2)
    note = b"it is also a file, which -f reads"
    assert note in b" ".join(on_terminal(*words).split())
    assert note not in b" ".join(on_terminal(*words, "--quiet").split())
