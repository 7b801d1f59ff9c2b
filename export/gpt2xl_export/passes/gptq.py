"""Round to n bits so that the errors of one input are made up for by the inputs after it.

GPTQ (Frantar et al. 2022, arXiv:2210.17323): inputs are rounded one after the other, and what rounding
one of them changes in the output is taken back, as far as calibration text says the inputs go
together, by moving the weights not yet rounded. Here within windows of the inputs, so that no inverse is
larger than a window.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from gpt2xl_export.tensor_files import FloatArray

# Inputs of a window, multiples of every block size up to them: with little text and with much.
WINDOW, WIDE_WINDOW = 256, 1024
COLUMNS = 8192  # outputs rounded together: fewer would only mean more calls, on shorter rows
LAZY = 8  # inputs whose corrections reach the rest of their block together
DAMPING = 0.1  # of the mean diagonal; 0.01 to 1 differ little
GRID = (0.85, 0.92, 1.0, 1.08)  # of the scale that just covers a block


@dataclass(frozen=True)
class Rounded:
    """Weights as codes, in the layout of the checkpoint."""

    codes: npt.NDArray[np.int8]
    """[n_in, n_out], from -2^(bits - 1) on."""
    scales: FloatArray
    """[blocks, n_out]"""
    error: dict[str, Any] = field(default_factory=dict)
    """What `compare` found."""

    def restored(self) -> FloatArray:
        """The values that now count, [n_in, n_out]."""
        blocks = self.codes.reshape(len(self.scales), -1, self.codes.shape[1])
        values = np.multiply(blocks, self.scales[:, None], dtype=np.float32)
        return np.asarray(values).reshape(self.codes.shape)

    def compare(self, weights: FloatArray) -> dict[str, Any]:
        """The error for the manifest; ``weights`` is [n_in or less, n_out], block by block."""
        size = len(self.codes) // len(self.scales)

        def one(block: int) -> tuple[float, float]:
            original = weights[block * size : (block + 1) * size]
            codes = self.codes[block * size :][: len(original)]
            difference = np.multiply(codes, self.scales[block], dtype=np.float32)
            difference -= original
            largest = max(difference.max(), -difference.min())
            return float(largest), float(np.vdot(difference, difference))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            largest, squares = zip(*pool.map(one, range(len(self.scales))), strict=True)
        total = float(np.vdot(weights, weights)) or 1.0
        return {"max_abs_error": max(largest), "relative_error": (sum(squares) / total) ** 0.5}


def round_with_inputs(
    weights: FloatArray, inputs: FloatArray, bits: int, block_size: int, window: int = WINDOW
) -> Rounded:
    """Round ``weights`` to ``bits`` in blocks of ``block_size`` inputs.

    Args:
        weights: [n_in, n_out]; n_in a multiple of block_size.
        inputs: what they are multiplied with on calibration text, [positions, n_in].
        bits: of a code.
        block_size: inputs that share a scale.
        window: inputs whose errors are made up for together; a multiple of block_size, or less.
    """
    window = max(window, block_size)
    starts, lefts = range(0, len(weights), window), range(0, weights.shape[1], COLUMNS)
    codes = np.empty(weights.shape, np.int8)
    scales = np.empty((len(weights) // block_size, weights.shape[1]), np.float32)

    def one(tile: tuple[tuple[int, FloatArray], int]) -> None:
        (start, factor), left = tile
        rows, columns = slice(start, start + window), slice(left, left + COLUMNS)
        blocks = slice(start // block_size, (start + window) // block_size)
        work = np.array(weights[rows, columns])
        _round_tile(work, factor, codes[rows, columns], scales[blocks, columns], bits)

    # One thread a tile: BLAS's own threads would only get in each other's way.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        factors = pool.map(lambda start: inverse_factor(inputs[:, start : start + window]), starts)
        list(pool.map(one, product(zip(starts, factors, strict=True), lefts)))
    return Rounded(codes, scales)


def compensated(weights: FloatArray, inputs: FloatArray, exact: FloatArray) -> FloatArray:
    """The weights that bring ``inputs`` nearest to ``exact @ weights``, by damped least squares.

    Args:
        weights: [n_in, n_out]
        inputs: what they will be multiplied with, [positions, n_in].
        exact: the same of the float32 model; more positions than n_in, or this fits noise.
    """
    moments = damped(inputs.T @ inputs / np.float32(len(inputs)))
    cross = inputs.T @ (exact - inputs) / np.float32(len(inputs))
    shift = np.linalg.solve(moments, cross.astype(np.float64)).astype(np.float32)
    return np.asarray(weights + shift @ weights)


def inverse_factor(inputs: FloatArray) -> FloatArray:
    """The upper Cholesky factor of the inverse of the inputs' damped second moments."""
    moments = damped(inputs.T @ inputs / np.float32(len(inputs)))
    # In reverse order the factor of the moments is triangular the other way: one inverse is enough.
    # Damped moments are tame enough for float32.
    lower = np.linalg.cholesky(moments[::-1, ::-1].astype(np.float32))
    return np.ascontiguousarray(np.triu(np.linalg.inv(lower)[::-1, ::-1]))


def damped(moments: FloatArray) -> npt.NDArray[np.float64]:
    """Second moments, [n_in, n_in], made safe to invert."""
    moments64 = moments.astype(np.float64)
    damping = DAMPING * float(np.diag(moments64).mean()) or 1.0
    moments64[np.diag_indices_from(moments64)] += damping
    return moments64


def _round_tile(
    weights: FloatArray,
    factor: FloatArray,
    codes: npt.NDArray[np.int8],
    scales: FloatArray,
    bits: int,
) -> None:
    """Round one window of some columns into ``codes`` and ``scales``; ``weights`` is used up."""
    block_size = len(weights) // len(scales)
    errors = np.empty((block_size, weights.shape[1]), np.float32)
    for number, start in enumerate(range(0, len(weights), block_size)):
        end = start + block_size
        scales[number] = best_scales(weights[start:end], bits)
        inverse = _inverse(scales[number])
        for first in range(start, end, LAZY):
            last = min(first + LAZY, end)
            for row in range(first, last):
                code, error = _nearest(weights[row], inverse, bits), errors[row - start]
                codes[row] = code
                code *= scales[number]
                np.subtract(weights[row], code, out=error)
                error /= factor[row, row]
                weights[row + 1 : last] -= factor[row, row + 1 : last, None] * error
            done = errors[first - start : last - start]
            weights[last:end] -= factor[first:last, last:end].T @ done
        weights[end:] -= factor[start:end, end:].T @ errors


def best_scales(block: FloatArray, bits: int) -> FloatArray:
    """[block_size, n_out] -> the scale of each column with the least squared error of GRID's.

    The largest value takes the lowest code, whatever its sign: scales may be negative. Each candidate is
    refitted by least squares to the codes it gives.
    """
    at = np.abs(block).argmax(0)[None]
    covering = np.take_along_axis(block, at, 0)[0] / np.float32(-(1 << (bits - 1)))
    best: FloatArray = covering
    most = np.full(covering.shape, -1, np.float32)
    for factor in GRID:
        codes = _nearest(block, _inverse(covering * np.float32(factor)), bits)
        product = np.einsum("ij,ij->j", codes, block)
        fitted = product * _inverse(np.einsum("ij,ij->j", codes, codes))
        explained = product * fitted  # of the block's squares, by these codes times this scale
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
