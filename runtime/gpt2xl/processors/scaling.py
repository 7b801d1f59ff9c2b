"""Processors that rescale the logits and exclude nothing."""

from collections.abc import Sequence

import numpy as np

from gpt2xl.processors.probabilities import Distribution
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.sessions.protocol import Logits

LOWEST_TEMPERATURE = 1e-200  # any difference of two float32 divided by it is still a finite float64


def temperature(value: float) -> LogitsProcessor:
    """Divide the logits by ``value``: above 1 flattens the distribution, below 1 sharpens it.

    The logits are shifted so that the largest becomes 0, which changes no probability. They are returned in
    float64: rounded to float32, a seed would give other texts.

    >>> temperature(0.5)([], np.array([1, 3, 2], np.float32))
    array([-4.,  0., -2.])
    """

    def divide(ids: Sequence[int], logits: Logits) -> Logits:
        return _divided(logits, value)

    return divide


def dynamic_temperature(value: float, half_range: float, exponent: float = 1.0) -> LogitsProcessor:
    """Divide the logits by a temperature that grows with their entropy, as llama.cpp's ``--dynatemp-range``.

    The temperature is low + (high - low) * (entropy / ln(n)) ** exponent, where low and high are ``value`` -/+
    ``half_range``, low at least 0, and n is how many ids are not excluded. Returned as `temperature` returns them.

    >>> dynamic_temperature(1.0, 0.5)([], np.array([1, 1, -np.inf], np.float32))
    array([  0.,   0., -inf])

    Args:
        value: the middle of the range.
        half_range: how far the temperature may be from it; 0 is `temperature`.
        exponent: above 1 lowers the temperature in between, below 1 raises it.
    """
    low, high = max(0.0, value - half_range), value + half_range

    def divide(ids: Sequence[int], logits: Logits) -> Logits:
        left = np.count_nonzero(logits > -np.inf)
        if left < 2 or not np.isfinite(logits.max()):
            return logits
        relative = min(max(Distribution.of(logits).entropy() / np.log(left), 0.0), 1.0)
        return _divided(logits, low + (high - low) * relative**exponent)

    return divide


def _divided(logits: Logits, value: float) -> Logits:
    scaled = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):  # the sampler refuses what is not finite
        scaled -= logits.max()
    scaled /= max(value, LOWEST_TEMPERATURE)
    return np.asarray(scaled)


def renormalize() -> LogitsProcessor:
    """Turn the logits into log-probabilities, as ``renormalize_logits`` of transformers.

    >>> renormalize()([], np.array([5, 5, -np.inf], np.float32)).round(4)
    array([-0.6931, -0.6931,    -inf], dtype=float32)
    """

    def normalize(ids: Sequence[int], logits: Logits) -> Logits:
        if not np.isfinite(logits.max()):
            return logits
        log_total = np.log(Distribution.of(logits).total)
        return np.asarray(logits - (logits.max() + logits.dtype.type(log_total)))

    return normalize
