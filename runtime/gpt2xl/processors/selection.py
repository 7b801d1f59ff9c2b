"""What the processors of truncation share: a mask of the ids that stay, applied."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.ranking import largest
from gpt2xl.sessions.protocol import Logits

Mask = npt.NDArray[np.bool_]


def selection(stays: Callable[[Logits], Mask]) -> LogitsProcessor:
    """A processor that excludes the ids at which ``stays(logits)``, [n], is False."""

    def select(ids: Sequence[int], logits: Logits) -> Logits:
        if not np.isfinite(logits.max()):
            return logits
        return only(logits, stays(logits))

    return select


def only(logits: Logits, mask: Mask) -> Logits:
    """The logits where ``mask`` is True, -inf elsewhere.

    >>> only(np.array([1, 2], np.float32), np.array([False, True]))
    array([-inf,   2.], dtype=float32)
    """
    changed = np.full_like(logits, -np.inf)
    (kept,) = mask.nonzero()  # cheaper than copying by the mask where neighbours differ
    changed[kept] = logits[kept]
    return changed


def at_least(count: int, mask: Mask, logits: Logits) -> Mask:
    """``mask``; or, where fewer than ``count`` ids stay, the largest logits, of a tie the lowest ids.

    >>> at_least(2, np.array([False, True, False]), np.array([1, 2, 1], np.float32))
    array([ True,  True, False])
    """
    if np.count_nonzero(mask) >= count:
        return mask
    filled = mask.copy()
    filled[largest(logits, count)] = True
    return filled


def at_least_with_ties(count: int, mask: Mask, logits: Logits) -> Mask:
    """Like `at_least`, but of a tie all ids stay.

    >>> at_least_with_ties(2, np.array([False, True, False]), np.array([1, 2, 1], np.float32))
    array([ True,  True,  True])
    """
    if np.count_nonzero(mask) >= count:
        return mask
    return np.asarray(mask | (logits >= logits[largest(logits, count)[-1]]))
