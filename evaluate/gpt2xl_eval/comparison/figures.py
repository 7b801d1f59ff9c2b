"""How far two models differ over a text, and over parts of it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from gpt2xl_eval.comparison.token_scores import Floats, Integers, TokenScores

POSITIONS = (0, 16, 64, 128, 256, 512, 1024, 2048)
"""Where bins of tokens by their place in the window begin."""
FREQUENCIES = (1, 2, 10, 100, 1000, 10000)
"""Where bins of tokens by their number in the data begin."""


@dataclass(frozen=True)
class Figures:
    """How far two models differ over some tokens; there has to be one."""

    scores: TokenScores

    @property
    def tokens(self) -> int:
        """How many they are of."""
        return len(self.scores)

    @cached_property
    def perplexities(self) -> tuple[float, float]:
        """Of the first model and of the second one, a token."""
        first, second = np.exp(-self.scores.logprobs.mean(-1)).tolist()
        return first, second

    @property
    def ratio(self) -> float:
        """The second perplexity divided by the first."""
        return self.perplexities[1] / self.perplexities[0]

    @cached_property
    def ratio_error(self) -> float | None:
        """Standard error of `ratio`, from the differences of paired tokens; None of a single one."""
        first, second = self.scores.logprobs
        return self.ratio * _error(first - second) if self.tokens > 1 else None

    @cached_property
    def mean_kl(self) -> float:
        """KL(first || second), in nats."""
        return float(self.scores.kl.mean())

    @cached_property
    def kl_99(self) -> float:
        """99th percentile of KL over tokens, in nats."""
        return float(np.quantile(self.scores.kl, 0.99))

    @cached_property
    def top1_agreement(self) -> float:
        """Share of the tokens at which both models have the same most probable one."""
        return float(self.scores.is_same_top.mean())


def _error(values: Floats) -> float:
    """Standard error of the mean of independent values."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))


@dataclass(frozen=True)
class Bin:
    """Some of the tokens."""

    first: int
    last: int | None
    """None: without an end."""
    figures: Figures

    @property
    def label(self) -> str:
        """What the bin holds."""
        if self.last is None:
            return f"{self.first}+"
        return f"{self.first}" if self.first == self.last else f"{self.first}-{self.last}"


def by_position(scores: TokenScores) -> list[Bin]:
    """Bins of the tokens of the window before each."""
    return list(_bins(scores, scores.preceding, POSITIONS))


def by_frequency(scores: TokenScores) -> list[Bin]:
    """Bins of how often the token is scored."""
    _, places, counts = np.unique(scores.ids, return_inverse=True, return_counts=True)
    return list(_bins(scores, counts[places], FREQUENCIES))


def _bins(
    scores: TokenScores,
    values: Integers,
    starts: Sequence[int],
) -> Iterator[Bin]:
    for first, after in zip(starts, [*starts[1:], None], strict=True):
        inside = (values >= first) & (values < (np.inf if after is None else after))
        if inside.any():
            yield Bin(first, None if after is None else after - 1, Figures(scores[inside]))


def most_different(scores: TokenScores, count: int) -> list[int]:
    """Indices of the tokens with the largest KL, the largest first."""
    return [int(i) for i in np.argsort(-scores.kl, kind="stable")[:count]]
