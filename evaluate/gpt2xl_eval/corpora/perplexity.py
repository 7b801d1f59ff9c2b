"""Perplexity of running text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpt2xl import Continuation, ContinuationScore
from gpt2xl_eval.task import Measured, Setting


@dataclass(frozen=True)
class Perplexity:
    """Windows over a text; see ``Task``."""

    name: str
    continuations: Sequence[Continuation]
    settings: Mapping[str, Setting]
    units: Mapping[str, int]
    """How many words, bytes and characters the data set has, by the name of the denominator; "token" is known anyway."""
    top: int = 1

    def measure(self, index: int, score: ContinuationScore) -> Measured:
        """The log-probability, and how many tokens it is of."""
        return float(score.logprobs.sum()), float(len(score.logprobs))

    def figures(self, measured: Sequence[Measured]) -> Mapping[str, float]:
        """Perplexity of a unit, and bits of it."""
        nats = -math.fsum(total for total, _ in measured)
        units = {**self.units, "token": int(math.fsum(count for _, count in measured))}
        return {
            f"perplexity per {unit}": math.exp(nats / count) for unit, count in units.items()
        } | {f"bits per {unit}": nats / count / math.log(2) for unit, count in units.items()}
