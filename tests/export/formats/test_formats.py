"""The quantizers on single matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gpt2xl_export.formats.int8 import quantize_rows
from gpt2xl_export.formats.nbits import dequantize_blocks, encode, pack, to_blocks
from gpt2xl_export.formats.tiles import quantize_tiles

FINITE = st.floats(-100, 100, width=32)
MATRICES = arrays(np.float32, (3, 64), elements=FINITE)


@given(MATRICES)
def test_int8_errors_are_at_most_half_a_step(rows: np.ndarray) -> None:
    tile = quantize_rows(rows)
    step = np.abs(rows).max(1, keepdims=True) / 127
    assert (np.abs(tile.restored - rows) <= step * 0.51 + 1e-6).all()
    assert (tile.restored[~rows.any(1)] == 0).all()


@given(MATRICES, st.sampled_from([4, 8]))
def test_n_bit_codes_are_the_nearest_ones(rows: np.ndarray, bits: int) -> None:
    middle = 1 << (bits - 1)
    scales = np.abs(rows).max(-1, keepdims=True) / np.float32(middle - 1)
    codes = encode(rows, scales, middle)
    restored = dequantize_blocks(codes, scales[..., 0], bits)
    assert (np.abs(restored - rows) <= scales * 0.51 + 1e-6).all()


def test_the_last_block_is_padded_with_zeros() -> None:
    blocks = to_blocks(np.ones((2, 40), np.float32), 32)
    assert blocks.shape == (2, 2, 32)
    assert blocks[:, 1, :8].all()
    assert not blocks[:, 1, 8:].any()


def test_the_first_of_two_codes_is_in_the_low_half_of_a_byte() -> None:
    assert pack(np.array([1, 2, 15, 0], np.uint8), 4).tolist() == [0x21, 0x0F]


def test_tiles_of_a_transposed_matrix_give_the_same_as_the_whole() -> None:
    rows = np.random.default_rng(0).normal(size=(700, 999)).astype(np.float32).T
    (codes, scales), error = quantize_tiles("int8", rows, quantize_rows)
    whole = quantize_rows(np.ascontiguousarray(rows))
    assert np.array_equal(codes, whole.stored[0])
    assert np.array_equal(scales, whole.stored[1])
    difference = whole.restored - rows
    assert error.max_abs_error == pytest.approx(np.abs(difference).max())
    wanted = np.linalg.norm(difference) / np.linalg.norm(rows)
    assert error.relative_error == pytest.approx(wanted, rel=1e-4)
