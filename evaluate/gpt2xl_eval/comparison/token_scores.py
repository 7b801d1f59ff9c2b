"""What two models say of each token of a text."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]  # [tokens, vocab_size]

BLOCK = 32
"""Positions whose probabilities are computed together: of GPT-2's vocabulary, 13 MB in float64."""


@dataclass(frozen=True)
class TokenScores:
    """Log-probabilities in nats and most probable ids; where there are two rows, the second is of the second model."""

    ids: Integers
    """[tokens]."""
    preceding: Integers
    """Tokens of the window before each, [tokens]."""
    logprobs: Floats
    """Of each token, [2, tokens]."""
    kl: Floats
    """KL(first || second) of the next token's distribution, [tokens]."""
    top_ids: Integers
    """The most probable id of each model, [2, tokens]."""
    top_logprobs: Floats
    """Its log-probability, [2, tokens]."""

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, places: slice | Integers | npt.NDArray[np.bool_]) -> "TokenScores":
        return TokenScores(*(getattr(self, field.name)[..., places] for field in fields(self)))

    @property
    def is_same_top(self) -> npt.NDArray[np.bool_]:
        """Whether both models have the same most probable token, [tokens]."""
        return np.asarray(self.top_ids[0] == self.top_ids[1])


def joined(parts: Iterable[TokenScores]) -> TokenScores:
    """The scores of several parts of a text as one; there has to be a part."""
    found = list(parts)
    names = (field.name for field in fields(TokenScores))
    return TokenScores(*(np.concatenate([getattr(p, n) for p in found], -1) for n in names))


def compared(first: Logits, second: Logits, ids: Integers, preceding: Integers) -> TokenScores:
    """Compare two models at some positions.

    >>> logits = np.log(np.array([[[0.5, 0.5]], [[0.25, 0.75]]], np.float32))
    >>> found = compared(*logits, ids=np.array([1]), preceding=np.array([3]))
    >>> np.exp(found.logprobs).round(6).tolist(), found.kl.round(6).tolist()
    ([[0.5], [0.75]], [0.143841])

    Args:
        first: logits of the first model.
        second: of the second one.
        ids: the tokens that follow.
        preceding: tokens of the window before each.
    """
    starts = range(0, len(ids), BLOCK)
    blocks = (slice(start, start + BLOCK) for start in starts)
    return joined(_block(first[b], second[b], ids[b], preceding[b]) for b in blocks)


def _block(first: Logits, second: Logits, ids: Integers, preceding: Integers) -> TokenScores:
    rows = np.arange(len(ids))
    logits = [
        values - values.max(-1, keepdims=True).astype(np.float64) for values in (first, second)
    ]
    exps = [np.exp(values) for values in logits]
    sums = [values.sum(-1) for values in exps]
    logs = np.log(sums)
    tops = np.stack([values.argmax(-1) for values in (first, second)])
    exps[0] *= logits[0] - logits[1]
    kl = exps[0].sum(-1) / sums[0] - logs[0] + logs[1]
    return TokenScores(
        ids,
        preceding,
        np.stack([values[rows, ids] for values in logits]) - logs,
        np.maximum(kl, 0),  # below 0 only by rounding
        tops,
        -logs,  # the largest logit is 0
    )
