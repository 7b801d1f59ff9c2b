"""Round to n bits so that the errors of one input are made up for by the inputs after it.

GPTQ (Frantar et al. 2022, arXiv:2210.17323): inputs are rounded one after the other, and what rounding
one of them changes in the output is taken back, as far as calibration text says the inputs go
together, by moving the weights not yet rounded. Here within windows of the inputs, so that no inverse is
larger than WINDOW.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from gpt2xl_export.tensor_files import FloatArray

WINDOW = 256  # a multiple of every block size up to it
LAZY = 32  # inputs whose corrections reach the rest of their block together
DAMPING = 0.1  # of the mean diagonal; 0.01 to 1 differ little
GRID = (0.85, 0.92, 1.0, 1.08)  # of the scale that just covers a block


@dataclass(frozen=True)
class Rounded:
    """Weights as codes, in the layout of the checkpoint."""

    codes: npt.NDArray[np.int8]
    """[n_in, n_out], from -2^(bits - 1) on."""
    scales: FloatArray
    """[blocks, n_out]"""


def round_with_inputs(
    weights: FloatArray, inputs: FloatArray, bits: int, block_size: int
) -> Rounded:
    """Round ``weights`` to ``bits`` in blocks of ``block_size`` inputs.

    Args:
        weights: [n_in, n_out]; n_in a multiple of block_size.
        inputs: what they are multiplied with on calibration text, [positions, n_in].
        bits: of a code.
        block_size: inputs that share a scale.
    """
    window = max(WINDOW, block_size)

    def one(start: int) -> Rounded:
        rows = slice(start, start + window)
        factor = inverse_factor(inputs[:, rows])
        return _round_window(np.array(weights[rows]), factor, bits, block_size)

    # One thread a window: BLAS's own threads would only get in each other's way.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(one, range(0, len(weights), window)))
    codes, scales = (np.concatenate([getattr(p, n) for p in parts]) for n in ("codes", "scales"))
    return Rounded(codes, scales)


def inverse_factor(inputs: FloatArray) -> FloatArray:
    """The upper Cholesky factor of the inverse of the inputs' damped second moments."""
    x = inputs.astype(np.float64)
    moments = x.T @ x / len(x)
    damping = DAMPING * float(np.diag(moments).mean()) or 1.0
    moments[np.diag_indices_from(moments)] += damping
    return np.linalg.cholesky(np.linalg.inv(moments)).T.astype(np.float32)


def _round_window(weights: FloatArray, factor: FloatArray, bits: int, block_size: int) -> Rounded:
    """Round one window; ``weights`` is used up."""
    codes = np.empty(weights.shape, np.int8)
    scales = np.empty((len(weights) // block_size, weights.shape[1]), np.float32)
    errors = np.empty((block_size, weights.shape[1]), np.float32)
    for number, start in enumerate(range(0, len(weights), block_size)):
        end = start + block_size
        scales[number] = best_scales(weights[start:end], bits)
        inverse = _inverse(scales[number])
        for first in range(start, end, LAZY):
            last = min(first + LAZY, end)
            for row in range(first, last):
                code = _nearest(weights[row], inverse, bits)
                error = (weights[row] - code * scales[number]) / factor[row, row]
                codes[row], errors[row - start] = code, error
                weights[row + 1 : last] -= factor[row, row + 1 : last, None] * error
            done = errors[first - start : last - start]
            weights[last:end] -= factor[first:last, last:end].T @ done
        weights[end:] -= factor[start:end, end:].T @ errors
    return Rounded(codes, scales)


def best_scales(block: FloatArray, bits: int) -> FloatArray:
    """[block_size, n_out] -> the scale of each column with the least squared error of GRID's.

    The largest value takes the lowest code, whatever its sign: scales may be negative. Each candidate is
    refitted by least squares to the codes it gives.
    """
    at = np.abs(block).argmax(0)[None]
    covering = np.take_along_axis(block, at, 0)[0] / np.float32(-(1 << (bits - 1)))
    best: FloatArray = covering
    least = np.full(covering.shape, np.inf, np.float32)
    for factor in GRID:
        codes = _nearest(block, _inverse(covering * np.float32(factor)), bits)
        fitted = np.einsum("ij,ij->j", codes, block) * _inverse(np.einsum("ij,ij->j", codes, codes))
        codes = _nearest(block, _inverse(fitted), bits)
        error = codes * fitted - block
        squares = np.einsum("ij,ij->j", error, error)
        best = np.where(squares < least, fitted, best)
        least = np.minimum(squares, least)
    return best


def _nearest(values: FloatArray, inverse: FloatArray, bits: int) -> FloatArray:
    middle = 1 << (bits - 1)
    codes: FloatArray = np.rint(values * inverse)
    return np.asarray(np.clip(codes, -middle, middle - 1, out=codes), np.float32)


def _inverse(scales: FloatArray) -> FloatArray:
    """1 / scales, 0 for 0."""
    inverse = np.zeros(scales.shape, np.float32)
    np.divide(1, scales, out=inverse, where=scales != 0)
    return inverse
