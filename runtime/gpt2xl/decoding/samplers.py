"""Turn one row of logits into one token id."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpt2xl.errors import RequestError
from gpt2xl.sessions.logits import Logits, TopLogits

Sampler = Callable[[Logits], int]
BLOCKS = 512
LOWEST_TEMPERATURE = (
    1e-200  # by which any difference of float32 may be divided; draws as lower ones do
)


def draw(sampler: Sampler, logits: Logits | TopLogits) -> int:
    """The id that ``sampler`` takes, given the logits of one position or those that it looks at."""
    if isinstance(logits, TopLogits):
        return int(logits.ids[sampler(logits.logits)])
    return sampler(logits)


def greedy(logits: Logits) -> int:
    """The most probable id; the lowest one of a tie."""
    return int(logits.argmax())


def make_sampler(top_k: int = 40, temperature: float = 1.0, seed: int = 0) -> Sampler:
    """Draw among the ``top_k`` most probable ids (0: among all) at ``temperature`` (0: greedy).

    Exactly ``top_k`` ids are kept: of a tie at the edge the lowest ids stay. The draw inverts the
    cumulative distribution in float64, so that one seed gives one text on every platform. A deep copy
    draws what the original will.

    Raises:
        RequestError: ``top_k``, ``temperature`` or ``seed`` below 0, or a ``temperature`` that is not finite.
    """
    if top_k < 0:
        raise RequestError(f"top_k has to be >= 0 (0 keeps the whole vocabulary), but is {top_k}.")
    if not (math.isfinite(temperature) and temperature >= 0):
        raise RequestError(
            f"temperature has to be a number >= 0 (0: the most probable text), but is {temperature}."
        )
    if seed < 0:
        raise RequestError(f"seed has to be >= 0, but is {seed}.")
    if temperature == 0:
        return greedy
    return _TopK(top_k, max(temperature, LOWEST_TEMPERATURE), np.random.default_rng(seed))


@dataclass
class _TopK:
    top_k: int
    temperature: float
    rng: np.random.Generator

    def __call__(self, logits: Logits) -> int:
        kept = largest(logits, self.top_k)
        values = logits[kept].astype(np.float64)
        cumulative = np.exp((values - values[0]) / self.temperature).cumsum()
        drawn = cumulative.searchsorted(self.rng.random() * cumulative[-1], side="right")
        return int(kept[min(int(drawn), kept.size - 1)])


def largest(logits: Logits, top_k: int) -> npt.NDArray[np.int64]:
    """Ids of the ``top_k`` largest logits (0, or more than there are: of all), largest first, ties by ascending id.

    >>> largest(np.array([1.0, 3.0, 1.0, 2.0], dtype=np.float32), 3)
    array([1, 3, 0])
    """
    if 0 < top_k < logits.size:
        (candidates,) = (logits >= _lower_bound(logits, top_k)).nonzero()
    else:
        candidates = np.arange(logits.size)
    ranked = candidates[(-logits[candidates]).argsort(kind="stable")]
    return ranked[:top_k] if top_k else ranked


def _lower_bound(logits: Logits, top_k: int) -> np.float32:
    """Something that at least ``top_k`` logits reach, and few more: far cheaper than the k-th largest.

    The k-th largest of the maxima of BLOCKS equal parts, where there are so many.
    """
    if top_k <= BLOCKS // 2 and logits.size >= 8 * BLOCKS:
        whole = logits[: logits.size // BLOCKS * BLOCKS]
        logits = whole.reshape(-1, BLOCKS).max(0)
    return np.float32(np.partition(logits, -top_k)[-top_k])
