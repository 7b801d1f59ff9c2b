"""Quantize a matrix a few rows at a time: temporaries stay in the CPU's cache, threads share the work."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpt2xl_export.source.tensor_files import FloatArray

TILE = 1 << 17  # elements; half a megabyte of float32
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tile:
    """Some rows, quantized."""

    stored: tuple[Array, ...]
    """What the weights file keeps; the first axis of each is the rows'."""
    restored: FloatArray
    """The values that now count, [rows, n_in]."""


def quantize_tiles(
    method: str, rows: FloatArray, quantize: Callable[[FloatArray], Tile]
) -> tuple[tuple[Array, ...], dict[str, Any]]:
    """Apply ``quantize`` to all of ``rows``, [n_out, n_in], which may be a transposed view.

    Returns:
        What the tiles store, joined, and the error they introduced, for the manifest.
    """
    size = max(1, TILE // rows.shape[1])
    starts = range(0, len(rows), size)

    def one(start: int) -> tuple[tuple[Array, ...], float, float, float]:
        original = np.ascontiguousarray(rows[start : start + size])
        tile = quantize(original)
        difference = tile.restored - original
        largest = float(np.abs(difference).max())
        return tile.stored, largest, float(np.vdot(difference, difference)), float(np.vdot(original, original))  # fmt: skip

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stored, largest, squares, total = zip(*pool.map(one, starts), strict=True)
    error = {
        "method": method,
        "max_abs_error": max(largest),
        "relative_error": (sum(squares) / (sum(total) or 1.0)) ** 0.5,
    }
    return tuple(np.concatenate(parts) for parts in zip(*stored, strict=True)), error
