"""Run gpt2xl in this process or in one of its own; check that every error is one line."""

import io
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from gpt2xl_cli import app

Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test its own folder and cache, apart from the user's environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GPT2XL_CONFIG", str(tmp_path / "config" / "config.toml"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("GPT2XL_DEBUG", raising=False)
    monkeypatch.delenv("GPT2XL_CACHE", raising=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Call it with the words after `gpt2xl`; output is captured at the file descriptors."""

    def run(*arguments: object, stdin: bytes | None = b"") -> CompletedProcess[str]:
        words = ["gpt2xl", *map(str, arguments)]
        source = None if stdin is None else io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
        monkeypatch.setattr("sys.argv", words)
        monkeypatch.setattr("sys.stdin", source)
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit_:
            app.run()
        output = capfd.readouterr()
        assert isinstance(exit_.value.code, int)
        return CompletedProcess(words, exit_.value.code, output.out, output.err)

    return run


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start `gpt2xl` in a process of its own, with pipes for all streams."""
    started = []

    def spawn(*arguments: object) -> subprocess.Popen[bytes]:
        words = [a if isinstance(a, bytes) else str(a) for a in arguments]
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "gpt2xl_cli", *words]
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe))
        return started[-1]

    yield spawn
    for process in started:  # still running only if the test failed
        process.kill()
        process.communicate()


@pytest.fixture
def error_line() -> Callable[..., str]:
    """Check that a run failed with one error line, the exit status and nothing on stdout; return the line."""

    def error_line(done: CompletedProcess[str], status: int = 1) -> str:
        assert done.stderr.startswith("error: "), done
        assert done.stderr.count("\n") == 1, done
        assert done.stderr.endswith("\n"), done
        assert (done.returncode, done.stdout) == (status, ""), done
        return done.stderr

    return error_line


@pytest.fixture
def refused(run: Run, error_line: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Like `run`, for commands that have to fail with one error line and leave no file; return the line."""

    def refused(*arguments: object, stdin: bytes | None = b"", status: int = 1) -> str:
        before = sorted(tmp_path.rglob("*"))
        line = error_line(run(*arguments, stdin=stdin), status)
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return refused


@pytest.fixture
def on_terminal() -> Callable[..., bytes]:
    """Run `gpt2xl` on a terminal; return what it writes there. ``shell`` may redirect some of that."""

    def on_terminal(*arguments: object, shell: str = "") -> bytes:
        command = [sys.executable, "-m", "gpt2xl_cli", *map(str, arguments)]
        if shell:
            command = ["sh", "-c", f"'{sys.executable}' -m gpt2xl_cli {shell}"]
        master, slave = pty.openpty()
        with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, close_fds=True):
            os.close(slave)
            output = b""
            while True:
                try:
                    piece = os.read(master, 4096)
                except OSError:  # the other end is closed
                    break
                if not piece:
                    break
                output += piece
        os.close(master)
        return output

    return on_terminal
