"""Quantize a matrix a few rows at a time: temporaries stay in the CPU's cache, threads share the work."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gpt2xl_export.graph.weights import WeightError
from gpt2xl_export.source.tensor_files import FloatArray

TILE_SIZE = 1 << 17  # numbers; half a megabyte of float32
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Tile:
    """Some rows, quantized."""

    stored: tuple[Array, ...]
    """What the weights file gets; the first axis of each array is the rows'."""
    restored: FloatArray
    """The values that the stored arrays stand for, [rows, n_in]."""


def quantize_tiles(
    method: str, rows: FloatArray, quantize: Callable[[FloatArray], Tile]
) -> tuple[tuple[Array, ...], WeightError]:
    """Apply ``quantize`` to all of ``rows``.

    Args:
        method: name of the format, for the error.
        rows: [n_out, n_in], may be a transposed view.
        quantize: [some rows, n_in] -> these rows quantized.

    Returns:
        The stored arrays of all tiles, joined, and the error.
    """
    size = max(1, TILE_SIZE // rows.shape[1])
    starts = range(0, len(rows), size)

    def quantize_one(start: int) -> tuple[tuple[Array, ...], float, float, float]:
        original = np.ascontiguousarray(rows[start : start + size])
        tile = quantize(original)
        difference = tile.restored - original
        largest = float(np.abs(difference).max())
        squares = float(np.vdot(difference, difference)), float(np.vdot(original, original))
        return tile.stored, largest, *squares

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        stored, largest, squares, total = zip(*pool.map(quantize_one, starts), strict=True)
    relative = (sum(squares) / (sum(total) or 1.0)) ** 0.5
    joined = tuple(np.concatenate(parts) for parts in zip(*stored, strict=True))
    return joined, WeightError(method, max(largest), relative)
