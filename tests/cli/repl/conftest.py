"""A prompt whose terminal is a list of answers and a list of what was shown."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import gpt2xl
from gpt2xl_cli.repl.loop import run_line
from gpt2xl_cli.repl.state import ModelFacts, ReplState
from gpt2xl_cli.repl.workspace import Workspace


class Scripted:
    """A console without a terminal."""

    def __init__(self) -> None:
        self.answers: list[str] = []
        self.written: list[str] = []
        self.notes: list[str] = []
        self.editor: Callable[[str], str] = str

    def write(self, text: str) -> None:
        self.written.append(text)

    def note(self, line: str) -> None:
        self.notes.append(line)

    def ask(self, question: str) -> str:
        return self.answers.pop(0)

    def edit(self, text: str) -> str:
        return self.editor(text)

    @contextmanager
    def without_echo(self) -> Iterator[None]:
        yield

    def flush(self) -> tuple[str, list[str]]:
        """What was written and noted since the last call."""
        shown = "".join(self.written), self.notes.copy()
        self.written.clear()
        self.notes.clear()
        return shown


@pytest.fixture(scope="session")
def tiny(bundle: Path) -> gpt2xl.Model:
    """A random model with a context of 96 tokens."""
    return gpt2xl.load(bundle, threads=1)


@pytest.fixture
def console() -> Scripted:
    return Scripted()


@pytest.fixture
def make_work(tiny: gpt2xl.Model, console: Scripted) -> Callable[..., Workspace]:
    """Call it with options for a prompt of the tiny model, which does not end a text by itself."""

    def make(**options: object) -> Workspace:
        values = {"max_new_tokens": 6, "seed": 1, "ignore_eos": True} | options
        state = ReplState(ModelFacts.of(tiny), gpt2xl.GenerationOptions(**values))  # type: ignore[arg-type]
        return Workspace(tiny, state, console)

    return make


@pytest.fixture
def work(make_work: Callable[..., Workspace]) -> Workspace:
    return make_work()


@pytest.fixture
def type_lines(work: Workspace) -> Callable[..., None]:
    """Call it with lines to type."""

    def type_lines(*lines: str) -> None:
        for line in lines:
            run_line(work, line)

    return type_lines
