"""Softmax in parts, for processors that compare probabilities: exponentials in float32, sums in float64."""

import numpy as np
import numpy.typing as npt

from gpt2xl.sessions.protocol import Logits

Floats = npt.NDArray[np.float32]


def below_largest(logits: Logits) -> Floats:
    """Each logit less the largest one, in float32, [n]; the largest has to be finite."""
    return np.asarray((logits - logits.max()).astype(np.float32, copy=False))


def weights_of(logits: Logits) -> tuple[Floats, float]:
    """Exp of `below_largest`, [n], and its sum: a probability is a weight / the sum.

    >>> weights_of(np.array([5, 5, -np.inf], np.float32))
    (array([1., 1., 0.], dtype=float32), 2.0)
    """
    weights = np.exp(below_largest(logits))
    return weights, float(weights.sum(dtype=np.float64))


def entropy_of(logits: Logits, weights: Floats, total: float) -> float:
    """Entropy in nats of the distribution with these `weights_of`; ids at -inf add nothing.

    >>> logits = np.array([5, 5, -np.inf], np.float32)
    >>> round(entropy_of(logits, *weights_of(logits)), 6)
    0.693147
    """
    lowest = np.float32(-200)  # exp of less is 0 in float32, but 0 * -inf is not a number
    shifted = np.maximum(below_largest(logits), lowest)
    return float(np.log(total) - (weights * shifted).sum(dtype=np.float64) / total)
