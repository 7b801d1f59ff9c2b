"""The largest logits, far cheaper than by sorting all."""

import numpy as np
import numpy.typing as npt

from gpt2xl.sessions.protocol import Logits

BLOCKS = 512  # parts of the vocabulary whose maxima bound the k-th largest logit


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
