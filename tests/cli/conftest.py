"""Run the command in this process or as one of its own, and hold every error to one line."""

import io
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
    """A folder and a cache of the test's own, nothing of the user's environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("GPT2XL_DEBUG", raising=False)
    monkeypatch.delenv("GPT2XL_CACHE", raising=False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Call it with what stands after `gpt2xl`; all that lands on the file descriptors is caught."""

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
    """Start `gpt2xl` as a process of its own, all its streams being pipes."""
    started = []

    def spawn(*arguments: object) -> subprocess.Popen[bytes]:
        words = [a if isinstance(a, bytes) else str(a) for a in arguments]
        pipe = subprocess.PIPE
        command = [sys.executable, "-m", "gpt2xl_cli", *words]
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe))
        return started[-1]

    yield spawn
    for process in started:  # over by now, unless the test has failed
        process.kill()
        process.communicate()


@pytest.fixture
def error_line() -> Callable[..., str]:
    """The only line of a run that failed as it should: exit code 1 or another, nothing on stdout."""

    def error_line(done: CompletedProcess[str], status: int = 1) -> str:
        assert done.stderr.startswith("error: "), done
        assert done.stderr.count("\n") == 1, done
        assert done.stderr.endswith("\n"), done
        assert (done.returncode, done.stdout) == (status, ""), done
        return done.stderr

    return error_line


@pytest.fixture
def refused(run: Run, error_line: Callable[..., str], tmp_path: Path) -> Callable[..., str]:
    """Like `run`, for what has to end in one line of error and leave no file behind; the line."""

    def refused(*arguments: object, stdin: bytes | None = b"", status: int = 1) -> str:
        before = sorted(tmp_path.rglob("*"))
        line = error_line(run(*arguments, stdin=stdin), status)
        assert sorted(tmp_path.rglob("*")) == before
        return line

    return refused
