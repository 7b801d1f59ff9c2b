"""Progress bars: shown on a terminal, removed at the end, absent elsewhere."""

import io
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gpt2xl_cli.progress import ProgressBars

Run = Callable[..., CompletedProcess[str]]
ERASE_LINE = b"\x1b[2K"


def test_batch_shows_finished_texts_and_speed_on_a_terminal(
    bundle: Path, on_terminal: Callable[..., bytes]
) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once"}\n{"prompt": "go"}\n')
    output = on_terminal("batch", "-m", bundle, "in.jsonl", "out.jsonl", "-n", 5)
    assert b"2/2" in output
    assert b"tokens/s" in output
    assert b"Wrote out.jsonl: 2 texts, 10 new tokens, " in output.rpartition(ERASE_LINE)[2]


def test_batch_to_a_terminal_shows_its_lines_without_a_bar(
    bundle: Path, on_terminal: Callable[..., bytes]
) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once"}\n')
    output = on_terminal("batch", "-m", bundle, "in.jsonl", "-", "-n", 5)
    assert output.startswith(b'{"prompt": "Once", "text"')
    assert b"tokens/s" not in output


def test_export_shows_its_stages_on_a_terminal(
    checkpoint: Path, on_terminal: Callable[..., bytes]
) -> None:
    output = on_terminal("export", checkpoint, "out")
    assert b"reading" in output
    assert b"converting" in output
    assert b"checking" in output
    start, _, end = output.partition(b"reading")
    assert start.startswith(b"Exporting %s to out: fp32 (32-bit floats)" % bytes(checkpoint))
    assert b"--precision int8 makes a quarter" in b" ".join(start.split())
    last = end.rpartition(ERASE_LINE)[2]
    assert last.startswith(b"Wrote out: fp32")
    assert last.endswith(b' s. Next: gpt2xl generate -m out "Once upon a time"\r\n')


def test_verify_shows_the_check_that_runs(bundle: Path, on_terminal: Callable[..., bytes]) -> None:
    output = on_terminal("verify", bundle)
    assert b"parity   " in output
    assert output.endswith(b"the bundle is sound.\r\n")


@pytest.mark.parametrize("command", ["export", "verify", "batch", "features"])
def test_quiet_shows_the_result_only(
    command: str, bundle: Path, checkpoint: Path, on_terminal: Callable[..., bytes]
) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once"}\n')
    words = {
        "export": (checkpoint, "out"),
        "verify": (bundle,),
        "batch": ("in.jsonl", "out.jsonl", "-n", 5, "-m", bundle),
        "features": ("Once", "go", "--pooling", "mean", "--out", "out.npy", "-m", bundle),
    }
    output = on_terminal(command, *words[command], "-q")
    assert b"\x1b" not in output
    first = output.splitlines()[0]
    assert first.startswith(b"ok       sums" if command == "verify" else b"Wrote out")
    assert b"Next:" not in output


def test_quiet_drops_the_notes_of_a_resumed_batch_and_of_the_demo(
    run: Run, on_terminal: Callable[..., bytes]
) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once"}\n')
    done = run("batch", "in.jsonl", "-", "-n", 1, "--greedy", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")


def test_lines_go_to_a_pipe_while_a_bar_is_on_the_terminal(
    bundle: Path, on_terminal: Callable[..., bytes]
) -> None:
    Path("in.jsonl").write_text('{"prompt": "Once"}\n{"prompt": "go"}\n')
    command = f"batch -m {bundle} in.jsonl - -n 5 > out.jsonl"
    output = on_terminal(shell=command)
    assert b"tokens/s" in output
    assert b'{"prompt"' not in output
    assert Path("out.jsonl").read_text().count("\n") == 2


def test_nothing_is_shown_where_stderr_is_not_a_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with ProgressBars() as bars:
        bars.show("texts", 1, 2, "5 tokens/s")
    assert capfd.readouterr() == ("", "")


def test_a_narrow_terminal_cuts_the_note_and_not_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    with ProgressBars() as bars:
        bars.show("my-gpt2-xl-in…", 3, 18, "decode, after 512 tokens: 22.3 tokens/s, one text")
    shown = terminal.getvalue()
    assert "decode, after" in shown
    assert "…" in shown.partition("decode, after")[2]
    assert "0:00:00" in shown
