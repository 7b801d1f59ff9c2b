"""Progress bars: shown on a terminal, removed at the end, absent elsewhere."""

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
    assert b"Wrote out.jsonl: 2 texts, 10 new tokens." in output.rpartition(ERASE_LINE)[2]


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
    assert b"weights" in output
    assert b"check" in output
    assert b"Wrote out: fp32" in output.rpartition(ERASE_LINE)[2]


def test_nothing_is_shown_where_stderr_is_not_a_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with ProgressBars() as bars:
        bars.show("texts", 1, 2, "5 tokens/s")
    assert capfd.readouterr() == ("", "")
