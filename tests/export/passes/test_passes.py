"""The quantizers on plain matrices, and the graph rewriting."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gpt2xl_export.formats.int8 import Int8, quantize_rows
from gpt2xl_export.formats.linears import find_linears, store_as
from gpt2xl_export.formats.nbits import NBits, dequantize_blocks, encode, pack, to_blocks
from gpt2xl_export.formats.tiles import quantize_tiles
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.passes.fp16 import convert_to_float16
from gpt2xl_export.source.checkpoint import open_checkpoint

FINITE = st.floats(-100, 100, width=32)
MATRICES = arrays(np.float32, (3, 64), elements=FINITE)


@given(MATRICES)
def test_int8_is_off_by_half_a_step_at_most(rows: np.ndarray) -> None:
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


def test_the_last_block_is_filled_up_with_zeros() -> None:
    blocks = to_blocks(np.ones((2, 40), np.float32), 32)
    assert blocks.shape == (2, 2, 32)
    assert blocks[:, 1, :8].all()
    assert not blocks[:, 1, 8:].any()


def test_two_codes_share_a_byte_the_first_in_the_low_half() -> None:
    assert pack(np.array([1, 2, 15, 0], np.uint8), 4).tolist() == [0x21, 0x0F]


def test_tiles_of_a_transposed_matrix_join_to_the_whole() -> None:
    rows = np.random.default_rng(0).normal(size=(700, 999)).astype(np.float32).T
    (codes, scales), error = quantize_tiles("int8", rows, quantize_rows)
    whole = quantize_rows(np.ascontiguousarray(rows))
    assert np.array_equal(codes, whole.stored[0])
    assert np.array_equal(scales, whole.stored[1])
    difference = whole.restored - rows
    assert error["max_abs_error"] == pytest.approx(np.abs(difference).max())
    wanted = np.linalg.norm(difference) / np.linalg.norm(rows)
    assert error["relative_error"] == pytest.approx(wanted, rel=1e-4)


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[WeightsFile]:
    with WeightsFile(tmp_path / "w") as file:
        yield file


@pytest.fixture
def model(checkpoint: Path) -> ir.Model:
    opened = open_checkpoint(checkpoint)
    return build_portable(opened.config, opened.load)


@pytest.mark.parametrize(
    "form", [Int8(), NBits(bits=4, block_size=32), NBits(bits=8, block_size=32)]
)
def test_a_format_nobody_wants_changes_nothing(
    model: ir.Model, weights: WeightsFile, form: Int8 | NBits
) -> None:
    before = [(node.name, node.op_type) for node in model.graph]
    assert store_as(form, model, weights, lambda _: False) == {}
    assert [(node.name, node.op_type) for node in model.graph] == before


@pytest.mark.parametrize(
    ("form", "op_type"),
    [(Int8(), "MatMulIntegerToFloat"), (NBits(4, 32), "MatMulNBits")],
    ids=["int8", "int4"],
)
def test_a_format_replaces_the_products_it_is_wanted_for(
    model: ir.Model, weights: WeightsFile, form: Int8 | NBits, op_type: str
) -> None:
    errors = store_as(form, model, weights, lambda name: name.startswith("h.1."))
    assert len(errors) == 4
    assert [node.op_type for node in model.graph].count(op_type) == 4
    assert {linear.name.split(".")[1] for linear in find_linears(model, lambda _: True)} == {
        "0",
        "weight",
    }
    assert not any(name in model.graph.initializers for name in errors)
    assert "h.1.mlp.c_fc" in ir.convenience.create_value_mapping(model.graph)


def test_a_second_graph_shares_what_the_first_has_written(
    checkpoint: Path, weights: WeightsFile
) -> None:
    opened = open_checkpoint(checkpoint)
    models = [build_portable(opened.config, opened.load) for _ in range(2)]
    first, second = (store_as(Int8(), model, weights, lambda _: True) for model in models)
    assert len(first) == 4 * opened.config.n_layer + 1
    assert second == {}
    name = "h.0.attn.c_attn.weight.int8"
    tensors = [model.graph.initializers[name].const_value for model in models]
    assert tensors[0] is tensors[1]


def test_float16_leaves_no_float32_but_the_logits(model: ir.Model, weights: WeightsFile) -> None:
    errors = convert_to_float16(model, weights)
    assert "wpe.weight" in errors
    types = {value.dtype for value in model.graph.initializers.values()}
    assert ir.DataType.FLOAT not in types
    assert model.graph.outputs[0].dtype == ir.DataType.FLOAT
    assert {value.dtype for value in model.graph.outputs[1:]} == {ir.DataType.FLOAT16}
    lowest = model.graph.initializers["lowest"].const_value
    assert lowest is not None
    assert np.isfinite(lowest.numpy())
