"""`gpt2xl repl` as a user has it: on a terminal, in a pipe, without its extra."""

import fcntl
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

import gpt2xl

pytest.importorskip("prompt_toolkit", reason="needs the extra cli")
Run = Callable[..., CompletedProcess[str]]
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])")
SECONDS = 60.0
WHERE = b"\x1b[6n"  # asks a terminal for the place of its cursor
READY = "context "  # in the toolbar


class Terminal:
    """The user's side of a pseudo-terminal on which the command runs."""

    def __init__(self, *arguments: object, **environment: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, 100))
        words = [sys.executable, "-m", "gpt2xl_cli", "repl", *map(str, arguments)]
        names = {"TERM": "xterm"} | environment
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, env=os.environ | names, start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(slave)
        self._end = time.monotonic() + SECONDS
        self.shown = ""
        """All that was shown, without escapes."""
        self.raw = b""

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def wait_for(self, text: str) -> str:
        """Wait until ``text`` is shown; returns what was shown up to there, and forgets it."""
        while text not in self.shown:
            if not self._read():
                pytest.fail(f"{text!r} is not in what is shown: {self.shown!r}")
        before, _, self.shown = self.shown.partition(text)
        return before

    def wait(self) -> int:
        """The exit status."""
        while self._read():
            pass
        return self.process.wait(timeout=5)

    def close(self) -> None:
        os.close(self._master)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _read(self) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0, self._end - time.monotonic()))
        try:
            piece = os.read(self._master, 4096) if ready else b""
        except OSError:  # the other end is closed
            piece = b""
        for _ in range(piece.count(WHERE)):
            self.type("\x1b[1;1R")
        self.raw += piece
        self.shown += ESCAPES.sub("", piece.decode("utf-8", "replace")).replace("\r", "")
        return bool(piece)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # so that Ctrl-C is a signal


@pytest.fixture
def open_terminal(
    demo_model: gpt2xl.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Terminal]]:
    """Call it with arguments for a prompt with the demo."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)
    opened = []
    assert demo_model.bundle is not None
    folder = demo_model.bundle.folder

    def open_terminal(*arguments: object, **environment: str) -> Terminal:
        opened.append(Terminal("-m", folder, "--threads", 1, *arguments, **environment))
        return opened[-1]

    yield open_terminal
    for terminal in opened:
        terminal.close()


def test_a_text_grows_on_a_terminal(
    open_terminal: Callable[..., Terminal], demo_model: gpt2xl.Model, tmp_path: Path
) -> None:
    options = {"greedy": True, "max_new_tokens": 8}
    first = demo_model.generate("Once upon a time", **options).text  # type: ignore[arg-type]
    terminal = open_terminal("--greedy", "-n", 8)
    terminal.wait_for("/help lists the commands")
    terminal.wait_for(READY)
    terminal.type("Once upon a time\r")
    terminal.wait_for(first)
    terminal.wait_for("tokens/s")
    terminal.type("/text\r")
    terminal.wait_for(f"Once upon a time{first}\n")
    for line in ("/set max_new_tokens 50000", "/set overflow slide", "/set ignore_eos on"):
        terminal.wait_for(READY)
        terminal.type(f"{line}\r")
        terminal.wait_for(f"\n{line.removeprefix('/set ')}".replace(" on", " true"))
    terminal.wait_for(READY)
    terminal.type("\r")
    time.sleep(0.5)
    terminal.type("\x03")
    terminal.wait_for("Interrupted; what came is kept.")
    terminal.wait_for(READY)
    terminal.type("/new\r/set max_new_tokens 1\r")
    terminal.wait_for("max_new_tokens 1\n")
    terminal.wait_for(READY)
    terminal.type("one\\\rtwo\x1b\rthree\r")
    terminal.wait_for(READY)
    terminal.type(f"/text\r/save {tmp_path}/saved.json\r")
    terminal.wait_for("one\ntwo\nthree")
    terminal.wait_for("Wrote")
    terminal.wait_for(READY)
    terminal.type("\x04")
    assert terminal.wait() == 0
    assert (tmp_path / "saved.json").is_file()
    history = tmp_path / "state/gpt2xl/repl_history"
    assert "+Once upon a time" in history.read_text()
    assert history.stat().st_mode & 0o077 == 0


def test_no_color_shows_none(open_terminal: Callable[..., Terminal]) -> None:
    colour = re.compile(rb"\x1b\[[0-9;]*\b(3[0-8]|9[0-7])(;[0-9]+)*m")
    found = []
    for value in ("", "1"):
        terminal = open_terminal("--greedy", NO_COLOR=value)
        terminal.wait_for(READY)
        terminal.type("/tokens\r")
        terminal.wait_for("are left.")
        terminal.wait_for(READY)
        terminal.type("\x04")
        assert terminal.wait() == 0
        found.append(bool(colour.search(terminal.raw)))
    assert found == [True, False]


def test_sigterm_gives_the_terminal_back(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal()
    terminal.wait_for(READY)
    terminal.process.send_signal(signal.SIGTERM)
    terminal.wait_for("error: terminated.")
    assert terminal.wait() == 128 + signal.SIGTERM
    assert terminal.raw.count(b"\x1b[?2004h") == terminal.raw.count(b"\x1b[?2004l") > 0


def test_a_history_that_cannot_be_written_is_a_warning(
    open_terminal: Callable[..., Terminal], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    terminal = open_terminal(XDG_STATE_HOME=str(tmp_path / "file"))
    terminal.wait_for("warning: the history is not kept: ")
    terminal.wait_for(READY)
    terminal.type("\x04")
    assert terminal.wait() == 0


def test_a_pipe_is_refused(refused: Callable[..., str], bundle: Path) -> None:
    line = refused("repl", "-m", bundle, stdin=b"Once\n")
    assert line == "error: repl needs a terminal: in a pipe or a script use `gpt2xl generate`.\n"


def test_help_needs_no_extra(run: Run) -> None:
    done = run("repl", "-h")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: gpt2xl repl " in done.stdout


def test_a_missing_extra_is_named(run: Run, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt2xl_cli.commands.repl.check_terminal", lambda: None)
    for name in [name for name in sys.modules if name.startswith("gpt2xl_cli.repl.console")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prompt_toolkit", None)
    done = run("repl", "-m", bundle)
    message = "the prompt needs `pip install 'gpt2xl[cli]'` (prompt_toolkit is not installed)."
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {message}\n")
