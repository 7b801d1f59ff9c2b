"""Log-probabilities of tokens: natural logarithms, of the model's own logits before any processor."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpt2xl.processors.ranking import largest
from gpt2xl.sessions.protocol import Logits, PositionLogits


@dataclass(frozen=True)
class Logprobs:
    """How probable a token was, and what else could have been chosen."""

    token: float
    """Log-probability of the chosen token."""
    top: list[tuple[int, float]]
    """The most probable ids with their log-probabilities, the most probable first."""
    entropy: float = 0.0
    """Of the whole distribution, in nats."""


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
    possible = values > -np.inf  # processed logits exclude ids
    entropy = -float((np.exp(values[possible]) * values[possible]).sum())
    top_values = [(int(i), float(values[i])) for i in top if possible[i]]
    return Logprobs(float(values[token_id]), top_values, entropy)


class PromptScores:
    """Collects the log-probabilities of the tokens of a prompt.

    Args:
        ids: the prompt.
        count: how many of the most probable ids each token carries.
    """

    def __init__(self, ids: Sequence[int], count: int) -> None:
        self._ids, self._count = ids, count
        self.logprobs: list[Logprobs | None] = [None]
        """Of each token so far; nothing precedes the first."""

    @property
    def is_complete(self) -> bool:
        """Whether every token of the prompt has been scored."""
        return len(self.logprobs) == len(self._ids)

    def add(self, logits: PositionLogits) -> None:
        """Take the logits of the next positions, [n, vocab_size]."""
        for position in logits:
            if not self.is_complete:
                token_id = self._ids[len(self.logprobs)]
                self.logprobs.append(logprobs_of(position, token_id, self._count))
