"""Perplexity of running text."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gpt2xl import ContinuationScore
from gpt2xl_eval.corpora.windows import WindowsOfDocuments
from gpt2xl_eval.options import Denominator
from gpt2xl_eval.task import Measured, Setting

NAMES: Mapping[Denominator, str] = {"word-no-eos": "word without line ends"}
IN_BITS = ("byte", "character")
"""Units for which bits are usual, not perplexity."""


@dataclass(frozen=True)
class Perplexity:
    """Windows over texts; see ``Task``."""

    name: str
    continuations: WindowsOfDocuments
    settings: Mapping[str, Setting]
    units: Mapping[Denominator, int]
    """How many words, bytes and characters the data set has, by the name of the denominator; "token" is known anyway."""
    denominator: Denominator
    """That of the first figure."""
    top: int = 1

    def measure(self, index: int, score: ContinuationScore) -> Measured:
        """The log-probability, and how many tokens it is of."""
        return float(score.logprobs.sum()), float(len(score.logprobs))

    def figures(self, measured: Sequence[Measured]) -> Mapping[str, float]:
        """Perplexity of a unit, and bits of it: exp(nats / units), and nats / units / ln 2.

        Where only a part is measured, its words, bytes and characters are taken to be the part of all that its tokens are.
        """
        nats = -math.fsum(total for total, _ in measured)
        tokens = math.fsum(count for _, count in measured)
        part = tokens / self.continuations.scored_tokens
        counts = {self.denominator: 0.0} | {unit: n * part for unit, n in self.units.items()}
        counts["token"] = tokens
        return {
            name: value
            for unit, count in counts.items()
            if count
            for name, value in _figures_of(unit, nats / count)
        }


def _figures_of(unit: Denominator, nats: float) -> list[tuple[str, float]]:
    """The usual figure first; no perplexity that is too large for a float."""
    name = NAMES.get(unit, unit)
    bits = (f"bits per {name}", nats / math.log(2))
    if nats > math.log(sys.float_info.max):
        return [bits]
    perplexity = (f"perplexity per {name}", math.exp(nats))
    return [bits, perplexity] if unit in IN_BITS else [perplexity, bits]
