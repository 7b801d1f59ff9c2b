"""The chunks in which a prompt is fed: what is quick and takes little memory."""

import numpy as np

from gpt2xl.sessions.protocol import Ids

PREFILL_CHUNK = 256
"""Most tokens of a prompt fed at once on a CPU: 336 to 480 are no faster and take more memory."""
PREFILL_TILE = 48
"""Rows that onnxruntime's integer matrix products compute together."""


def prefill_chunks(length: int, longest: int = PREFILL_CHUNK) -> list[int]:
    """Lengths of the chunks in which a prompt of ``length`` tokens is fed, each at most ``longest``.

    All but the last are multiples of PREFILL_TILE, and all are of about one length, so that no chunk of a long prompt is
    shorter than LONG_STEP.

    >>> prefill_chunks(900), prefill_chunks(257), prefill_chunks(7)
    ([240, 240, 240, 180], [144, 113], [7])
    """
    if length <= longest:
        return [length]
    tile = min(PREFILL_TILE, longest)
    starts = np.arange(0, length, tile)
    chunks = np.array_split(starts, -(-len(starts) // (longest // tile)))
    return [int(size) for size in np.diff([*(chunk[0] for chunk in chunks), length])]


def cut_into_chunks(input_ids: Ids, longest: int) -> list[Ids]:
    """``input_ids``, [rows, n], in the chunks of `prefill_chunks`."""
    ends = np.cumsum(prefill_chunks(input_ids.shape[1], longest))
    return np.split(input_ids, ends[:-1], axis=1)
