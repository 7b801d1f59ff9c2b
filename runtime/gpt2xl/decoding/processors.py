"""Logits processors: they change the logits of one position before a token is chosen from them.

A processor is any function of the ids so far (prompt included) and the logits, [n]; it returns new
logits and leaves its arguments unchanged. An id whose logit becomes -inf cannot be chosen. n is the vocabulary; the
processors of top_k and temperature may get the largest logits only (`Chain.needed_logits`).
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from gpt2xl.sessions.protocol import Logits

LogitsProcessor = Callable[[Sequence[int], Logits], Logits]

BLOCKS = 512  # parts of the vocabulary whose maxima bound the k-th largest logit
LOWEST_TEMPERATURE = 1e-200  # any difference of two float32 divided by it is still a finite float64


def repetition_penalty(penalty: float) -> LogitsProcessor:
    """Make every id of the text less probable if ``penalty`` > 1, more probable if < 1.

    As in transformers: the prompt counts, an id counts once however often it occurs, negative logits are
    multiplied and the others divided.

    >>> repetition_penalty(2.0)([0, 1, 1], np.array([4, -4, 4], np.float32))
    array([ 2., -8.,  4.], dtype=float32)
    """

    def penalize(ids: Sequence[int], logits: Logits) -> Logits:
        seen, changed = np.fromiter(set(ids), np.int64), logits.copy()
        values = logits[seen]
        with np.errstate(divide="ignore", over="ignore"):  # the sampler refuses what is not finite
            changed[seen] = np.where(values < 0, values * penalty, values / penalty)
        return changed

    return penalize


def no_repeat_ngram(size: int) -> LogitsProcessor:
    """Exclude every id that would complete an n-gram of ``size`` ids that the text already holds.

    >>> no_repeat_ngram(2)([1, 2, 0, 1], np.zeros(4, np.float32))
    array([  0.,   0., -inf,   0.], dtype=float32)
    """

    def exclude(ids: Sequence[int], logits: Logits) -> Logits:
        text, changed = list(ids), logits.copy()
        start = text[len(text) - size + 1 :]
        for end in range(size, len(text) + 1):
            if text[end - size : end - 1] == start:
                changed[text[end - 1]] = -np.inf
        return changed

    return exclude


def top_k(count: int) -> LogitsProcessor:
    """Exclude all but the ``count`` largest logits; of a tie at the edge the lowest ids stay.

    >>> top_k(2)([], np.array([1, 3, 1, 2], np.float32))
    array([-inf,   3., -inf,   2.], dtype=float32)
    """

    def select(ids: Sequence[int], logits: Logits) -> Logits:
        if count >= logits.size:
            return logits
        kept, changed = largest(logits, count), np.full_like(logits, -np.inf)
        changed[kept] = logits[kept]
        return changed

    return select


def temperature(value: float) -> LogitsProcessor:
    """Divide the logits by ``value``: above 1 flattens the distribution, below 1 sharpens it.

    The logits are shifted so that the largest becomes 0, which changes no probability. They are returned in
    float64: rounded to float32, a seed would give other texts.

    >>> temperature(0.5)([], np.array([1, 3, 2], np.float32))
    array([-4.,  0., -2.])
    """
    divisor = max(value, LOWEST_TEMPERATURE)

    def divide(ids: Sequence[int], logits: Logits) -> Logits:
        with np.errstate(invalid="ignore"):  # the sampler refuses what is not finite
            shifted = logits.astype(np.float64) - logits.max()
        return np.asarray(shifted / divisor)

    return divide


def largest(logits: Logits, count: int) -> npt.NDArray[np.int64]:
    """Ids of the ``count`` largest logits, the largest first, ties by ascending id.

    Args:
        logits: [vocab_size].
        count: 0, or more than there are, means all.

    >>> largest(np.array([1.0, 3.0, 1.0, 2.0], dtype=np.float32), 3)
    array([1, 3, 0])
    """
    if 0 < count < logits.size:
        (candidates,) = (logits >= _lower_bound(logits, count)).nonzero()
    else:
        candidates = np.arange(logits.size)
    ranked = candidates[(-logits[candidates]).argsort(kind="stable")]
    return ranked[:count] if count else ranked


def _lower_bound(logits: Logits, count: int) -> np.float32:
    """A value that at least ``count`` logits reach, and few more; far cheaper than the k-th largest.

    Where the vocabulary is large enough it is the k-th largest of the maxima of BLOCKS equal parts.
    """
    if count <= BLOCKS // 2 and logits.size >= 8 * BLOCKS:
        whole = logits[: logits.size // BLOCKS * BLOCKS]
        logits = whole.reshape(-1, BLOCKS).max(0)
    return np.float32(np.partition(logits, -count)[-count])
