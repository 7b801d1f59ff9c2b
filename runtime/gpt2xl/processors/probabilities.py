"""Softmax in parts, for processors that compare probabilities: exponentials in float32, sums in float64."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpt2xl.sessions.protocol import Logits

Floats = npt.NDArray[np.float32]
LEAST = np.float32(-200)  # exp of less is 0 in float32; 0 * -inf would not be a number


@dataclass(frozen=True)
class Distribution:
    """Probabilities of logits whose largest is finite, not yet divided by their sum.

    >>> distribution = Distribution.of(np.array([5, 5, -np.inf], np.float32))
    >>> distribution.weights, distribution.total, round(distribution.entropy(), 6)
    (array([1., 1., 0.], dtype=float32), 2.0, 0.693147)
    """

    below_largest: Floats
    """Each logit less the largest one, [n]."""
    weights: Floats
    """Their exponentials, [n]; a probability is a weight / ``total``."""
    total: float

    @classmethod
    def of(cls, logits: Logits) -> "Distribution":
        """The distribution of ``logits``, [n], in float32 or float64."""
        below = (logits - logits.max()).astype(np.float32, copy=False)
        weights = np.exp(below)
        return cls(below, weights, float(weights.sum(dtype=np.float64)))

    def entropy(self) -> float:
        """Entropy in nats; ids at -inf add nothing."""
        terms = np.maximum(self.below_largest, LEAST)
        terms *= self.weights
        return float(np.log(self.total) - terms.sum(dtype=np.float64) / self.total)
