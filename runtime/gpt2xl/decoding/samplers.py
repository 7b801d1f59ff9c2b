"""Samplers: they choose one token id from the logits of one position."""

from collections.abc import Callable

import numpy as np

from gpt2xl.errors import RequestError
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
        (candidates,) = (logits > -np.inf).nonzero()
        ranked = candidates[(-logits[candidates]).argsort(kind="stable")]
        values = logits[ranked].astype(np.float64)
        if not values.size or not np.isfinite(values[0]):
            raise RequestError(NOTHING_TO_CHOOSE)
        cumulative = np.exp(values - values[0]).cumsum()
        drawn = cumulative.searchsorted(self._rng.random() * cumulative[-1], side="right")
        return int(ranked[min(int(drawn), ranked.size - 1)])
