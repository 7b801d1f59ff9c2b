"""What the runner knows of a task: continuations to score, and what figures their scores come to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gpt2xl import Continuation, ContinuationScore

Setting = str | int | float
Measured = tuple[float, ...]
"""What is kept of a score, so that a run can be resumed: a few numbers whose meaning the task knows."""


class Task(Protocol):
    """A data set made ready for a tokenizer."""

    @property
    def name(self) -> str:
        """As on the command line."""

    @property
    def settings(self) -> Mapping[str, Setting]:
        """What the figures depend on; printed beside them."""

    @property
    def top(self) -> int:
        """How many of the most probable ids `measure` needs of each position."""

    @property
    def continuations(self) -> Sequence[Continuation]:
        """What to score."""

    def measure(self, index: int, score: ContinuationScore) -> Measured:
        """What to keep of the score of ``continuations[index]``."""

    def figures(self, measured: Sequence[Measured]) -> Mapping[str, float]:
        """The figures by name, from what was measured of all continuations, in their order."""


@dataclass(frozen=True)
class Outcome:
    """The figures of a task."""

    task: str
    figures: Mapping[str, float]
    settings: Mapping[str, Setting]
    counts: Mapping[str, int]
    """Continuations and scored tokens."""
