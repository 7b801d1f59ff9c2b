"""XTC, which excludes the most probable ids now and then."""

from collections.abc import Sequence

import numpy as np

from gpt2xl.processors.probabilities import Distribution
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.sessions.protocol import Logits

STREAM = 0x585443  # keeps its random numbers apart from the sampler's, which has the same seed


def xtc(probability: float, threshold: float, seed: int) -> LogitsProcessor:
    """Exclude top choices (text-generation-webui, pull request 6335; the rule is llama.cpp's).

    With ``probability``, all ids that are at least as probable as ``threshold`` are excluded but for the least
    probable of them; of a tie the highest id stays. One random number is drawn at each step. A deep copy draws what the
    original will draw. For one text only.

    >>> xtc(1.0, 0.2, seed=0)([], np.log(np.array([0.5, 0.3, 0.2], np.float32) / 0.9)).round(1)
    array([-inf, -inf, -1.5], dtype=float32)

    Args:
        probability: 0 to 1.
        threshold: above 0; above 0.5 it never excludes anything.
        seed: of the text, >= 0; the sampler may have the same.
    """
    return _Xtc(probability, threshold, seed)


class _Xtc:
    """A class and not a closure, since functions are not copied by ``copy.deepcopy``."""

    def __init__(self, probability: float, threshold: float, seed: int) -> None:
        self._probability = probability
        self._threshold = threshold
        self._rng = np.random.default_rng((seed, STREAM))

    def __call__(self, ids: Sequence[int], logits: Logits) -> Logits:
        if self._rng.random() >= self._probability or self._threshold > 0.5:
            return logits
        if not np.isfinite(logits.max()):
            return logits
        found, changed = Distribution.of(logits), logits.copy()
        (above,) = (found.weights >= self._threshold * found.total).nonzero()
        ranked = above[(-logits[above]).argsort(kind="stable")]
        changed[ranked[:-1]] = -np.inf
        return changed
