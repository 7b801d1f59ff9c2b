"""Processors that keep a share of the probability mass or of the entropy: top-p, typical-p and top-h.

Probabilities are exponentials in float32, and added up in float64. Transformers adds them up in float32, so an id
may stay in one and not in the other where the sum is within rounding of the threshold.
"""

import numpy as np
import numpy.typing as npt

from gpt2xl.processors.probabilities import Distribution, Floats
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.ranking import largest
from gpt2xl.processors.selection import Mask, at_least, selection
from gpt2xl.sessions.protocol import Logits

TOP_H_CANDIDATES = 100  # transformers 5.24, TopHLogitsWarper.top_n


def top_p(p: float, min_tokens_to_keep: int = 1) -> LogitsProcessor:
    """Keep the fewest ids, the most probable first, whose probabilities add up to ``p`` or more.

    Nucleus sampling (Holtzman et al. 2019, arXiv:1904.09751), by transformers' rule: from the least probable id on,
    ids are excluded while the sum of their probabilities is at most 1 - p. Of a tie at the edge the lowest ids stay.

    >>> top_p(0.7)([], np.log(np.array([0.5, 0.3, 0.2], np.float32))).round(1)
    array([-0.7, -1.2, -inf], dtype=float32)

    Args:
        p: 0 to 1.
        min_tokens_to_keep: so many of the largest logits stay in any case.
    """

    def stays(logits: Logits) -> Mask:
        found = Distribution.of(logits)
        excess = (1 - p) * found.total
        # What is below this bound adds up to less than the excess, so sorting the rest is enough.
        (likely,) = (found.weights >= excess / logits.size).nonzero()
        candidates = logits[likely]
        candidates.sort()
        sums = Distribution.of(candidates).weights.cumsum(dtype=np.float64)
        sums += found.total - sums[-1]
        count = candidates.size - int(sums.searchsorted(excess, side="right"))
        return at_least(min_tokens_to_keep, _first(logits, candidates, max(count, 1)), logits)

    return selection(stays)


def _first(logits: Logits, ascending: Logits, count: int) -> Mask:
    """Mask of the ``count`` largest logits; ``ascending`` are at least the ``count`` largest, sorted."""
    edge = ascending[-count]
    mask: Mask = logits > edge
    (tied,) = (logits == edge).nonzero()
    mask[tied[: count - np.count_nonzero(mask)]] = True
    return mask


def typical_p(p: float, min_tokens_to_keep: int = 1) -> LogitsProcessor:
    """Keep the ids whose surprise, -ln(probability), is nearest to the entropy, until they add up to ``p`` or more.

    Locally typical sampling (Meister et al. 2022, arXiv:2202.00666), by transformers' rule: all ids as near as the
    last one stay.

    Args:
        p: above 0, below 1.
        min_tokens_to_keep: so many of the nearest ids stay in any case.
    """

    def stays(logits: Logits) -> Mask:
        found = Distribution.of(logits)
        entropy = found.entropy()
        distances = np.float32(np.log(found.total) - entropy) - found.below_largest
        np.abs(distances, out=distances)
        mask = distances <= _typical_reach(distances, found, p, entropy)
        # The nearest id stays anyway.
        return at_least(min_tokens_to_keep, mask, -distances) if min_tokens_to_keep > 1 else mask

    return selection(stays)


def _typical_reach(distances: Floats, found: Distribution, p: float, entropy: float) -> np.float32:
    """Distance of the last id that is needed to reach ``p``."""
    # Ids below this weight add up to less than 1 - p, and are further away than `known`.
    bound = (1 - p) * found.total / distances.size
    known = np.log(found.total / bound) - entropy
    (candidates,) = (found.weights >= bound).nonzero()
    reach = _reach(distances[candidates], found.weights[candidates], p * found.total)
    return reach if reach < known else _reach(distances, found.weights, p * found.total)


def _reach(distances: Floats, weights: Floats, mass: float) -> np.float32:
    """The distance up to which the weights, the nearest first, add up to ``mass``."""
    order = distances.argsort()
    sums = weights[order].cumsum(dtype=np.float64)
    return np.float32(distances[order[min(int(sums.searchsorted(mass)), order.size - 1)]])


def top_h(share: float) -> LogitsProcessor:
    """Keep the most probable ids while their terms of the entropy add up to ``share`` of it or less.

    Top-H decoding (arXiv:2509.02510) as in transformers 5.24: only the 100 largest logits are considered, the entropy
    is of these, and the most probable id stays in any case. So the 100 largest logits are enough for it.

    >>> top_h(0.7)([], np.log(np.array([0.5, 0.3, 0.2], np.float32))).round(1)
    array([-0.7, -1.2, -inf], dtype=float32)

    Args:
        share: above 0, at most 1.
    """

    def stays(logits: Logits) -> Mask:
        best = largest(logits, TOP_H_CANDIDATES)
        terms = _entropy_terms(logits[best]).cumsum()
        mask = np.zeros(logits.size, np.bool_)
        mask[best[terms <= share * terms[-1]]] = True
        mask[best[0]] = True
        return mask

    return selection(stays)


def _entropy_terms(logits: Logits) -> npt.NDArray[np.float64]:
    """-p * ln(p) of each logit, 0 where p is 0."""
    shifted = np.maximum(logits.astype(np.float64) - logits.max(), -1e4)
    log_probabilities = shifted - np.log(np.exp(shifted).sum())
    return np.asarray(-np.exp(log_probabilities) * log_probabilities)
