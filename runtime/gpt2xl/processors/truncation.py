"""Processors that exclude ids by their own probability or logit: top-k, min-p, epsilon, eta and top-n-sigma."""

import math
from collections.abc import Sequence

import numpy as np

from gpt2xl.processors.probabilities import Distribution
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.ranking import largest
from gpt2xl.processors.selection import (
    Mask,
    at_least,
    at_least_with_ties,
    selection,
)
from gpt2xl.sessions.protocol import Logits


def top_k(count: int, *, keeps_ties: bool = False) -> LogitsProcessor:
    """Exclude all but the ``count`` largest logits.

    Of a tie at the edge the lowest ids stay; with ``keeps_ties`` all of them, as in transformers. With
    ``keeps_ties`` the chain needs all logits.

    >>> logits = np.array([1, 3, 1, 2], np.float32)
    >>> top_k(3)([], logits), top_k(3, keeps_ties=True)([], logits)
    (array([  1.,   3., -inf,   2.], dtype=float32), array([1., 3., 1., 2.], dtype=float32))
    """

    def reaches(logits: Logits) -> Mask:
        return np.asarray(logits >= logits[largest(logits, count)[-1]])

    def select(ids: Sequence[int], logits: Logits) -> Logits:
        if count >= logits.size:
            return logits
        kept, changed = largest(logits, count), np.full_like(logits, -np.inf)
        changed[kept] = logits[kept]
        return changed

    return selection(reaches) if keeps_ties else select


def min_p(p: float, min_tokens_to_keep: int = 1) -> LogitsProcessor:
    """Exclude ids less probable than ``p`` times the most probable one (Nguyen et al. 2024, arXiv:2407.01082).

    Decided by the difference of the logits to the largest, against ln(p).

    >>> min_p(0.5)([], np.log(np.array([0.5, 0.3, 0.2], np.float32))).round(1)
    array([-0.7, -1.2, -inf], dtype=float32)

    Args:
        p: 0 to 1; 0 excludes nothing.
        min_tokens_to_keep: so many of the largest logits stay in any case.
    """
    lowest = math.log(p) if p > 0 else -math.inf

    def stays(logits: Logits) -> Mask:
        return at_least(min_tokens_to_keep, logits >= logits.max() + lowest, logits)

    return selection(stays)


def epsilon_cutoff(epsilon: float, min_tokens_to_keep: int = 1) -> LogitsProcessor:
    """Exclude ids less probable than ``epsilon`` (Hewitt et al. 2022, arXiv:2210.15191).

    Decided by probabilities in float32.

    Args:
        epsilon: above 0, below 1.
        min_tokens_to_keep: so many of the largest logits stay in any case, and all of a tie at their edge.
    """

    def stays(logits: Logits) -> Mask:
        found = Distribution.of(logits)
        mask = found.weights >= epsilon * found.total
        return at_least_with_ties(min_tokens_to_keep, mask, logits)

    return selection(stays)


def eta_cutoff(epsilon: float, min_tokens_to_keep: int = 1) -> LogitsProcessor:
    """Exclude ids less probable than min(epsilon, sqrt(epsilon) * exp(-entropy)).

    Eta sampling of Hewitt et al. (2022, arXiv:2210.15191). Decided by probabilities in float32.

    Args:
        epsilon: above 0, below 1; the option ``eta_cutoff`` of transformers.
        min_tokens_to_keep: so many of the largest logits stay in any case, and all of a tie at their edge.
    """

    def stays(logits: Logits) -> Mask:
        found = Distribution.of(logits)
        eta = min(epsilon, math.sqrt(epsilon) * math.exp(-found.entropy()))
        return at_least_with_ties(min_tokens_to_keep, found.weights >= eta * found.total, logits)

    return selection(stays)


def top_n_sigma(n: float) -> LogitsProcessor:
    """Exclude logits more than ``n`` standard deviations below the largest (Tang et al. 2024, arXiv:2411.07641).

    As in llama.cpp, the standard deviation is of all logits that are not excluded yet. So it belongs before top-k;
    after top-k it is of the k largest.

    >>> top_n_sigma(1.0)([], np.array([0, 1, 5, 6, -np.inf], np.float32))
    array([-inf, -inf,   5.,   6., -inf], dtype=float32)

    Args:
        n: above 0.
    """

    def stays(logits: Logits) -> Mask:
        left = logits[logits > -np.inf]
        return np.asarray(logits >= logits.max() - n * left.std(dtype=np.float64))

    return selection(stays)
