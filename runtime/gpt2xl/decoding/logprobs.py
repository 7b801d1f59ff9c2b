"""Log-probabilities of tokens: natural logarithms, of the model's own logits before any processor."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpt2xl.processors.ranking import largest
from gpt2xl.sessions.protocol import Logits


@dataclass(frozen=True)
class Logprobs:
    """How probable a token was, and what else could have been chosen."""

    token: float
    """Log-probability of the chosen token."""
    top: list[tuple[int, float]]
    """The most probable ids with their log-probabilities, the most probable first."""


def log_softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Log-probabilities over the last axis, in float64.

    >>> np.exp(log_softmax(np.array([0.0, 0.0]))).tolist()
    [0.5, 0.5]
    """
    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def logprobs_of(logits: Logits, token_id: int, count: int) -> Logprobs:
    """Log-probabilities of ``token_id`` and of the ``count`` most probable ids, from all ``logits`` of a position."""
    values = log_softmax(logits)
    top = largest(logits, count) if count else ()
    return Logprobs(float(values[token_id]), [(int(i), float(values[i])) for i in top])
