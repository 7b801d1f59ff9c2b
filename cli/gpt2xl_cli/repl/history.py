"""The steps of a text, to undo and redo."""

from dataclasses import dataclass
from typing import Literal

from gpt2xl_cli.repl.document import Document

NOTHING = Document()
StepKind = Literal["prompt", "generation", "edit", "new"]


@dataclass(frozen=True)
class Step:
    """A change of the text, and the text after it."""

    kind: StepKind
    document: Document
    first: int = 0
    """Of a generation: the position of its first token."""
    base: Document = NOTHING
    """Of a generation: what it continues. It goes beyond ``first`` where an alternative was chosen."""
    seed: int | None = None
    """Of a generation: its sampler's."""


class History:
    """The steps so far; the last one that is not undone is the current one.

    >>> history = History()
    >>> history.push(Step("prompt", Document((1, 2))))
    >>> history.undo().kind, history.document, history.redo().document.ids
    ('prompt', Document(ids=(), hidden=0), (1, 2))
    """

    def __init__(self, steps: tuple[Step, ...] = (), count: int = 0) -> None:
        self.steps = list(steps)
        """Those that are undone at the end."""
        self.count = count
        """Steps that are not undone."""

    @property
    def current(self) -> Step | None:
        """The last step that is not undone."""
        return self.steps[self.count - 1] if self.count else None

    @property
    def document(self) -> Document:
        """The text now."""
        return self.current.document if self.current else NOTHING

    @property
    def last_seed(self) -> int | None:
        """Of the last generation that is not undone; None where it had none, or there is none."""
        done = reversed(self.steps[: self.count])
        return next((step.seed for step in done if step.kind == "generation"), None)

    def push(self, step: Step) -> None:
        """Add a step; those that are undone are forgotten."""
        self.steps[self.count :] = [step]
        self.count += 1

    def undo(self) -> Step | None:
        """The step that is undone; None where there is none."""
        if not self.count:
            return None
        self.count -= 1
        return self.steps[self.count]

    def redo(self) -> Step | None:
        """The step that is done again; None where there is none."""
        if self.count == len(self.steps):
            return None
        self.count += 1
        return self.steps[self.count - 1]
