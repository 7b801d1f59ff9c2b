"""How far the logits of two models are apart, and how far they may be."""

from dataclasses import asdict, dataclass
from math import isfinite

import numpy as np

from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl.errors import ParityError
from gpt2xl_export.source.tensor_files import FloatArray


@dataclass(frozen=True)
class Tolerance:
    """Largest allowed differences between an export and its checkpoint; None: not checked."""

    relative_logit_diff: float | None = None
    """Largest difference of a logit, divided by the largest absolute logit (at least 1)."""
    mean_kl: float | None = None
    """Mean over positions of KL(checkpoint || export), in nats."""


@dataclass(frozen=True)
class Difference:
    """How far the logits of a graph are from the expected ones."""

    max_abs_logit_diff: float
    relative_logit_diff: float
    """The same, divided by the largest absolute logit (at least 1)."""
    mean_kl: float
    """Mean over positions of KL(expected || graph), in nats."""
    top1_agreement: float
    """Share of positions with the same most probable token."""
    positions: int = 0
    """Positions that were compared."""

    def check(self, tolerance: Tolerance, what: str) -> None:
        """Compare with ``tolerance``.

        Args:
            tolerance: the limits.
            what: what was compared, for the message.

        Raises:
            ParityError: a figure is over its limit or is NaN.
        """
        for name, limit in asdict(tolerance).items():
            value = getattr(self, name)
            if limit is not None and not value <= limit:  # NaN fails, too
                why = "" if isfinite(value) else "; the weights overflow or are not finite"
                raise ParityError(
                    f"{what}: {name} is {value:.3g}, the tolerance is {limit:.3g}{why}."
                )


def difference(expected: FloatArray, found: FloatArray) -> Difference:
    """Compare logits, both [positions, vocab_size]."""
    largest = float(np.abs(expected - found).max())
    p, q = log_softmax(expected), log_softmax(found)
    return Difference(
        max_abs_logit_diff=largest,
        relative_logit_diff=largest / max(1.0, float(np.abs(expected).max())),
        mean_kl=float((np.exp(p) * (p - q)).sum(-1).mean()),
        top1_agreement=float((expected.argmax(-1) == found.argmax(-1)).mean()),
        positions=len(expected),
    )
