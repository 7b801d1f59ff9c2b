"""Round weights to n bits by GPTQ (Frantar et al. 2022, arXiv:2210.17323).

The weights of one input are rounded after those of another. Each rounding error is compensated in the
weights that are not yet rounded, as far as the inputs correlate on calibration text. This is done in
windows of the inputs, so that no inverse matrix is larger than a window.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from gpt2xl_export.source.tensor_files import FloatArray

# Inputs of a window: with little calibration text and with much. Powers of 2, as block sizes are.
WINDOW, WIDE_WINDOW = 256, 1024
TILE_WIDTH = 1 << 15  # weights rounded by one numpy call: one input of each window, some columns
LAZY = 16  # inputs whose corrections are applied to the rest of their block together
DAMPING = 0.1  # times the mean of the diagonal; 0.01 to 1 make little difference
GRID = (0.85, 0.92, 1.0, 1.08)  # candidate scales, relative to the one that just covers a block


@dataclass(frozen=True)
class Rounded:
    """Weights as codes, in the layout of the checkpoint."""

    codes: npt.NDArray[np.int8]
    """[n_in, n_out], from -2^(bits - 1) on."""
    scales: FloatArray
    """[blocks, n_out]"""
    max_abs_error: float = 0.0
    """Set by `compared`, as is the next."""
    relative_error: float = 0.0
    """Frobenius norm of the error, divided by that of the weights."""

    def restored(self) -> FloatArray:
        """The values that codes and scales stand for, [n_in, n_out]."""
        blocks = self.codes.reshape(len(self.scales), -1, self.codes.shape[1])
        values = np.multiply(blocks, self.scales[:, None], dtype=np.float32)
        return np.asarray(values).reshape(self.codes.shape)

    def compared(self, weights: FloatArray) -> "Rounded":
        """The same with its errors; ``weights`` are the exact ones, [n_in without padding, n_out]."""
        size = len(self.codes) // len(self.scales)

        def errors(block: int) -> tuple[float, float]:
            original = weights[block * size : (block + 1) * size]
            codes = self.codes[block * size :][: len(original)]
            difference = np.multiply(codes, self.scales[block], dtype=np.float32)
            difference -= original
            largest = max(difference.max(), -difference.min())
            return float(largest), float(np.vdot(difference, difference))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            largest, squares = zip(*pool.map(errors, range(len(self.scales))), strict=True)
        total = float(np.vdot(weights, weights)) or 1.0
        relative = (sum(squares) / total) ** 0.5
        return replace(self, max_abs_error=max(largest), relative_error=relative)


def round_with_inputs(
    weights: FloatArray, inputs: FloatArray, bits: int, block_size: int, window: int = WINDOW
) -> Rounded:
    """Round ``weights`` to ``bits`` in blocks of ``block_size`` inputs.

    Args:
        weights: [n_in, n_out]; n_in a multiple of block_size.
        inputs: of the product, on calibration text: [positions, n_in].
        bits: of a code.
        block_size: inputs that share a scale.
        window: inputs among which errors are compensated; a multiple of block_size, or less.
    """
    window = max(window, block_size)
    codes = np.empty(weights.shape, np.int8)
    scales = np.empty((len(weights) // block_size, weights.shape[1]), np.float32)
    whole = len(weights) // window * window

    def round_columns(rows: slice, factors: FloatArray, columns: slice) -> None:
        size, blocks = factors.shape[1], slice(rows.start // block_size, rows.stop // block_size)
        work = np.array(_windows(weights[rows, columns], size))
        _round_tile(
            work,
            factors,
            _windows(codes[rows, columns], size),
            _windows(scales[blocks, columns], size // block_size),
            bits,
        )

    # One thread for each tile; BLAS's own threads would compete with them.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        for start, stop in ((0, whole), (whole, len(weights))):
            parts = [inputs[:, at : min(at + window, stop)] for at in range(start, stop, window)]
            if parts:
                factors = np.stack(list(pool.map(inverse_factor, parts)))
                rows = slice(start, stop)
                tiles = _column_tiles(weights.shape[1], len(parts))
                list(pool.map(partial(round_columns, rows, factors), tiles))
    return Rounded(codes, scales)


def _windows(values: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """[n_in, n_out] -> [windows, size, n_out], a view."""
    return values.reshape(-1, size, values.shape[1])


def _column_tiles(n_out: int, windows: int) -> list[slice]:
    """Ranges of columns of about TILE_WIDTH weights in all windows, a multiple of the cores."""
    cores = os.cpu_count() or 1
    tiles = -(-n_out * windows // TILE_WIDTH // cores) * cores
    edges = np.linspace(0, n_out, min(tiles, n_out) + 1).astype(int).tolist()
    return [slice(left, right) for left, right in pairwise(edges)]


def compensated(weights: FloatArray, inputs: FloatArray, exact: FloatArray) -> FloatArray:
    """The weights with which ``inputs`` come closest to ``exact @ weights``: damped least squares.

    Args:
        weights: [n_in, n_out]
        inputs: of the product in the quantized model, [positions, n_in].
        exact: its inputs in the float32 model. With fewer positions than n_in this would fit noise.
    """
    moments = damped(inputs.T @ inputs / np.float32(len(inputs)))
    cross = inputs.T @ (exact - inputs) / np.float32(len(inputs))
    shift = np.linalg.solve(moments, cross.astype(np.float64)).astype(np.float32)
    return np.asarray(weights + shift @ weights)


def inverse_factor(inputs: FloatArray) -> FloatArray:
    """The upper Cholesky factor of the inverse of the inputs' damped second moments."""
    moments = damped(inputs.T @ inputs / np.float32(len(inputs)))
    # In reverse order the Cholesky factor of the moments is triangular the other way: one inverse is
    # enough. Damped moments are well conditioned enough for float32.
    lower = np.asarray(np.linalg.cholesky(moments[::-1, ::-1].astype(np.float32)), np.float32)
    return np.ascontiguousarray(_triangular_inverse(lower)[::-1, ::-1])


def _triangular_inverse(lower: FloatArray) -> FloatArray:
    """Invert by halves; numpy's inverse does not use that half of the matrix is zero."""
    half = len(lower) // 2
    if half < 64:
        return np.tril(np.linalg.inv(lower))
    first, second = (
        _triangular_inverse(lower[:half, :half]),
        _triangular_inverse(lower[half:, half:]),
    )
    result = np.zeros_like(lower)
    result[:half, :half], result[half:, half:] = first, second
    result[half:, :half] = -(second @ lower[half:, :half]) @ first
    return result


def damped(moments: FloatArray) -> npt.NDArray[np.float64]:
    """Second moments, [n_in, n_in], made safe to invert."""
    moments64 = moments.astype(np.float64)
    damping = DAMPING * float(np.diag(moments64).mean()) or 1.0
    moments64[np.diag_indices_from(moments64)] += damping
    return moments64


def _round_tile(
    weights: FloatArray,
    factors: FloatArray,
    codes: npt.NDArray[np.int8],
    scales: FloatArray,
    bits: int,
) -> None:
    """Round some columns of all windows into ``codes`` and ``scales``; overwrites ``weights``.

    Each numpy call rounds input i of every window: [windows, n_out].
    """
    windows, window, n_out = weights.shape
    block_size = window // scales.shape[1]
    # [window, i, j]: the share of the error of input i that input j compensates.
    shares = factors / np.diagonal(factors, axis1=1, axis2=2)[:, :, None]
    errors = np.empty((windows, block_size, n_out), np.float32)
    for number, start in enumerate(range(0, window, block_size)):
        end = start + block_size
        scale = scales[:, number] = best_scales(weights[:, start:end], bits)
        inverse = _inverse(scale)
        for first in range(start, end, LAZY):
            last = min(first + LAZY, end)
            for row in range(first, last):
                values, error = weights[:, row], errors[:, row - start]
                if row > first:
                    before = errors[:, first - start : row - start]
                    values -= (shares[:, None, first:row, row] @ before)[:, 0]
                code = _nearest(values, inverse, bits)
                codes[:, row] = code
                code *= scale
                np.subtract(values, code, out=error)
            done = errors[:, first - start : last - start]
            weights[:, last:end] -= shares[:, first:last, last:end].swapaxes(1, 2) @ done
        weights[:, end:] -= shares[:, start:end, end:].swapaxes(1, 2) @ errors


def best_scales(block: FloatArray, bits: int) -> FloatArray:
    """Search the scale of each column with the least squared error: [..., block_size, n_out].

    The largest value has the lowest code, whatever its sign: scales may be negative. Each candidate
    of GRID is refitted by least squares to the codes it gives.
    """
    highest, lowest = block.max(-2), block.min(-2)
    covering = np.where(highest >= -lowest, highest, lowest) / np.float32(-(1 << (bits - 1)))
    best: FloatArray = covering
    most = np.full(covering.shape, -1, np.float32)
    for factor in GRID:
        codes = _nearest(block, _inverse(covering * np.float32(factor))[..., None, :], bits)
        product = np.einsum("...ij,...ij->...j", codes, block)
        fitted = product * _inverse(np.einsum("...ij,...ij->...j", codes, codes))
        explained = product * fitted  # share of the block's sum of squares
        best = np.where(explained > most, fitted, best)
        most = np.maximum(explained, most)
    return best


def _nearest(values: FloatArray, inverse: FloatArray, bits: int) -> FloatArray:
    middle = 1 << (bits - 1)
    codes: FloatArray = values * inverse
    np.rint(codes, out=codes)
    return np.asarray(np.clip(codes, -middle, middle - 1, out=codes))


def _inverse(scales: FloatArray) -> FloatArray:
    """1 / scales, 0 for 0."""
    inverse = np.zeros(scales.shape, np.float32)
    np.divide(1, scales, out=inverse, where=scales != 0)
    return inverse
