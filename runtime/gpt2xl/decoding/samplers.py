"""Samplers: they choose one token id from the logits of one position."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from gpt2xl.errors import RequestError
from gpt2xl.processors.probabilities import Distribution
from gpt2xl.processors.selection import only
from gpt2xl.sessions.protocol import Logits

Sampler = Callable[[Logits], int]
NOTHING_TO_CHOOSE = "there is no token to choose: after the logits processors no logit is finite, or one is infinite."


def greedy(logits: Logits) -> int:
    """The most probable id; the lowest one of a tie.

    >>> greedy(np.array([1, 3, 3], np.float32))
    1

    Raises:
        RequestError: as `Categorical`.
    """
    best = int(logits.argmax())
    if not np.isfinite(logits[best]):
        raise RequestError(NOTHING_TO_CHOOSE)
    return best


class Categorical:
    """Draws an id with its probability, softmax(logits); ids at -inf are never drawn.

    The draw inverts the cumulative distribution in float64, the largest logit first and ties by ascending id,
    so that a seed gives the same text on every platform. A deep copy draws what the original will draw.

    >>> draw = Categorical(seed=42)
    >>> [draw(np.array([0, 1, 2, 3], np.float32)) for _ in range(6)]
    [2, 3, 2, 2, 3, 0]
    """

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def __call__(self, logits: Logits) -> int:
        """Draw an id.

        Raises:
            RequestError: no id is left, or the largest logit is not finite.
        """
        ranked, cumulative = _cumulative(logits)
        return _drawn(ranked, cumulative, self._rng)


class Mirostat:
    """Draws ids of about the same surprise, -log2(probability), throughout a text: Mirostat 2.

    Basu et al. (2020, arXiv:2007.14966), by llama.cpp's rule: ids with more surprise than ``mu`` are left out, but for
    the most probable one. Of what is left an id is drawn, as `Categorical` draws, and ``mu`` falls by
    ``eta * (surprise among what is left - tau)``; it begins at 2 * ``tau``. A deep copy draws what the original will draw.
    For one text only.

    Args:
        seed: of the text.
        tau: the surprise to aim at, in bits a token.
        eta: how fast ``mu`` follows.

    >>> draw = Mirostat(seed=42, tau=1.0)
    >>> [draw(np.array([0, 1, 2, 3], np.float32)) for _ in range(6)]
    [3, 3, 2, 3, 3, 2]
    """

    def __init__(self, seed: int, tau: float = 5.0, eta: float = 0.1) -> None:
        self.mu = 2 * tau
        """The largest surprise that an id may have, in bits."""
        self._tau, self._eta = tau, eta
        self._rng = np.random.default_rng(seed)

    def __call__(self, logits: Logits) -> int:
        """Draw an id.

        Raises:
            RequestError: as `Categorical`.
        """
        best = logits.max()
        if not np.isfinite(best):
            raise RequestError(NOTHING_TO_CHOOSE)
        total = Distribution.of(logits).total
        lowest = min(float(best), float(best) + math.log(total) - self.mu * math.log(2))
        ranked, cumulative = _cumulative(only(logits, logits >= lowest))
        chosen = _drawn(ranked, cumulative, self._rng)
        probability = math.exp(float(logits[chosen]) - float(best)) / cumulative[-1]
        self.mu -= self._eta * (-math.log2(probability) - self._tau)
        return chosen


def _cumulative(logits: Logits) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The ids that are not excluded, the largest logit first, and the sums of their exp(logit - largest)."""
    (candidates,) = (logits > -np.inf).nonzero()
    ranked = candidates[(-logits[candidates]).argsort(kind="stable")]
    values = logits[ranked].astype(np.float64)
    if not values.size or not np.isfinite(values[0]):
        raise RequestError(NOTHING_TO_CHOOSE)
    return ranked, np.exp(values - values[0]).cumsum()


def _drawn(
    ranked: npt.NDArray[np.int64], cumulative: npt.NDArray[np.float64], rng: np.random.Generator
) -> int:
    drawn = cumulative.searchsorted(rng.random() * cumulative[-1], side="right")
    return int(ranked[min(int(drawn), ranked.size - 1)])
