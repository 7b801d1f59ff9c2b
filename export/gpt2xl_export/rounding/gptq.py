"""Round to n bits so that the errors of one input are made up for by the inputs after it.

GPTQ (Frantar et al. 2022, arXiv:2210.17323): inputs are rounded one after the other, and what rounding
one of them changes in the output is taken back, as far as calibration text says the inputs go
together, by moving the weights not yet rounded. Here within windows of the inputs, so that no inverse is
larger than a window.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from gpt2xl_export.source.tensor_files import FloatArray

# Inputs of a window, multiples of every block size up to them: with little text and with much.
WINDOW, WIDE_WINDOW = 256, 1024
TILE = 1 << 15  # numbers rounded by one call: fewer would only mean more calls
LAZY = 16  # inputs whose corrections reach the rest of their block together
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
    codes = np.empty(weights.shape, np.int8)
    scales = np.empty((len(weights) // block_size, weights.shape[1]), np.float32)
    whole = len(weights) // window * window

    def one(rows: slice, factors: FloatArray, columns: slice) -> None:
        size, blocks = factors.shape[1], slice(rows.start // block_size, rows.stop // block_size)
        work = np.array(_windows(weights[rows, columns], size))
        _round_tile(
            work,
            factors,
            _windows(codes[rows, columns], size),
            _windows(scales[blocks, columns], size // block_size),
            bits,
        )

    # One thread a tile: BLAS's own threads would only get in each other's way.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(os.cpu_count()) as pool:
        for start, stop in ((0, whole), (whole, len(weights))):
            parts = [inputs[:, at : min(at + window, stop)] for at in range(start, stop, window)]
            if parts:
                factors = np.stack(list(pool.map(inverse_factor, parts)))
                one_group = partial(one, slice(start, stop), factors)
                list(pool.map(one_group, _columns(weights.shape[1], len(parts))))
    return Rounded(codes, scales)


def _windows(values: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """[n_in, n_out] -> [windows, size, n_out], a view."""
    return values.reshape(-1, size, values.shape[1])


def _columns(n_out: int, windows: int) -> list[slice]:
    """Tiles of about TILE numbers a row of all windows, as many as keep every core busy."""
    cores = os.cpu_count() or 1
    tiles = -(-n_out * windows // TILE // cores) * cores
    edges = np.linspace(0, n_out, min(tiles, n_out) + 1).astype(int).tolist()
    return [slice(left, right) for left, right in pairwise(edges)]


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
    lower = np.asarray(np.linalg.cholesky(moments[::-1, ::-1].astype(np.float32)), np.float32)
    return np.ascontiguousarray(_triangular_inverse(lower)[::-1, ::-1])


def _triangular_inverse(lower: FloatArray) -> FloatArray:
    """Half by half: numpy's inverse takes no notice of the zeros."""
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
    """Round some columns of all windows into ``codes`` and ``scales``; ``weights`` is used up.

    Row i of every window at once: [windows, n_out] is enough for one call of numpy.
    """
    windows, window, n_out = weights.shape
    block_size = window // scales.shape[1]
    # Of an error of row i, what row j makes up for.
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
    """[..., block_size, n_out] -> the scale of each column with the least squared error of GRID's.

    The largest value takes the lowest code, whatever its sign: scales may be negative. Each candidate is
    refitted by least squares to the codes it gives.
    """
    highest, lowest = block.max(-2), block.min(-2)
    covering = np.where(highest >= -lowest, highest, lowest) / np.float32(-(1 << (bits - 1)))
    best: FloatArray = covering
    most = np.full(covering.shape, -1, np.float32)
    for factor in GRID:
        codes = _nearest(block, _inverse(covering * np.float32(factor))[..., None, :], bits)
        product = np.einsum("...ij,...ij->...j", codes, block)
        fitted = product * _inverse(np.einsum("...ij,...ij->...j", codes, codes))
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
