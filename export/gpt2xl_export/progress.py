"""How far an export, a download or a verification is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Count = Callable[[int, int], None]
"""Called with (done, total) of one stage."""

COUNTED = ("tokenizer", "text", "measure")
"""The stages of an export that do not count bytes."""


@dataclass(frozen=True)
class Progress:
    """How far an export, a download or a verification is."""

    stage: str
    """Of an export, in this order: "hash" (reading the source), "tokenizer", "text" (sampling calibration text, where that is
    done), "measure" (what each matrix loses, in "auto"), "weights" (equalizing, rounding and writing), "check" (comparing with the source); "auto" repeats the last two. Of a download:
    "download", and "arrived" (hashing what came). Of a verification: the name of the check."""
    done: int
    """Bytes; steps in "tokenizer"; positions of a text. A matrix counts with its size in float32, in parts for the steps it goes through."""
    total: int
    """What ``done`` is at the end of the stage; 0 while that is not known."""
    share: float | None = None
    """Of the work of a whole export, from 0 to 1: an estimate; None where there is one stage only."""
    unit: str = "B"
    """Of ``done`` and ``total``: "B" for bytes, "" for parts that are counted."""


class Stages:
    """Turns the progress of each stage of an export into `Progress` of the whole.

    Args:
        report: called with it.
        costs: the stages in their order, with their shares of the work in any unit.
    """

    def __init__(self, report: Callable[[Progress], None], costs: Mapping[str, float]) -> None:
        self._report, self._costs = report, costs

    def counter(self, stage: str) -> Count:
        """The function that takes (done, total) of ``stage``.

        A stage that is repeated has a number behind its name, such as "weights 2"; it is not reported.
        """
        names = list(self._costs)
        before = sum(self._costs[name] for name in names[: names.index(stage)])
        everything = sum(self._costs.values())
        name, _, _ = stage.partition(" ")

        def count(done: int, total: int) -> None:
            share = (before + self._costs[stage] * (done / total if total else 1)) / everything
            self._report(Progress(name, done, total, share, "" if name in COUNTED else "B"))

        return count


class Steps:
    """Steps of unequal work within one stage, reported as parts of ``total``.

    Args:
        work: of all steps together, in any unit.
        total: what is reported at the end.
        report: called after each step.
    """

    def __init__(self, work: float, total: int, report: Count) -> None:
        self._work, self._total, self._report = work, total, report
        self._done = 0.0

    def add(self, work: float) -> None:
        """Report a step of this ``work``."""
        self._done += work
        share = self._done / self._work if self._work else 1.0
        self._report(min(self._total, round(self._total * share)), self._total)
