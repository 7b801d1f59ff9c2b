"""Each pass says whether it modified the model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from gpt2xl.sessions.engine_graph import LONG_STEP_INPUT
from gpt2xl_export.formats.int8 import Int8
from gpt2xl_export.formats.linears import find_linears
from gpt2xl_export.formats.nbits import NBits
from gpt2xl_export.graph.engine import build_engine
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.passes.fp16 import ConvertToFloat16
from gpt2xl_export.passes.kv_int8 import QuantizeKVCache
from gpt2xl_export.passes.quantize_weights import QuantizeWeights
from gpt2xl_export.passes.skip_norm import FuseSkipNorms
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint

Structure = list[tuple[str, list[str], list[str]]]


@pytest.fixture
def weights(tmp_path: Path) -> Iterator[WeightsFile]:
    with WeightsFile(tmp_path / "w") as file:
        yield file


@pytest.fixture
def opened(checkpoint: Path) -> Checkpoint:
    return open_checkpoint(checkpoint)


@pytest.fixture
def portable(opened: Checkpoint) -> ir.Model:
    return build_portable(opened.config, opened.load)


@pytest.fixture
def engine(opened: Checkpoint) -> ir.Model:
    return build_engine(opened.config, opened.load)


def structure(model: ir.Model) -> Structure:
    """Operators with their inputs and outputs, and the initializers."""
    nodes = [
        (
            node.op_type,
            [str(value and value.name) for value in node.inputs],
            [str(value.name) for value in node.outputs],
        )
        for node in model.graph
    ]
    return [*nodes, ("initializers", list(model.graph.initializers), [])]


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def in_layer_1(name: str) -> bool:
    return name.startswith("h.1.")


def unmodified(pass_: ir.passes.InPlacePass, model: ir.Model) -> bool:
    """Whether the pass says that it changed nothing, and has changed nothing."""
    before = structure(model)
    return not pass_(model).modified and structure(model) == before


@pytest.mark.parametrize(
    "form", [Int8(), NBits(bits=4, block_size=32), NBits(bits=8, block_size=32)]
)
def test_a_format_of_no_weight_changes_nothing(
    portable: ir.Model, weights: WeightsFile, form: Int8 | NBits
) -> None:
    assert unmodified(QuantizeWeights(form, lambda _: False, weights), portable)


@pytest.mark.parametrize(
    ("form", "op_type"),
    [(Int8(), "MatMulIntegerToFloat"), (NBits(4, 32), "MatMulNBits")],
    ids=["int8", "int4"],
)
def test_a_format_replaces_the_products_of_its_weights(
    opened: Checkpoint,
    portable: ir.Model,
    weights: WeightsFile,
    form: Int8 | NBits,
    op_type: str,
) -> None:
    stored = [linear.name for linear in find_linears(portable, in_layer_1)]
    for name in stored:
        form.store(name, opened.load(name).T, weights)
    quantize = QuantizeWeights(form, in_layer_1, weights)
    assert quantize(portable).modified
    assert operators(portable).count(op_type) == len(stored) == len(weights.errors) == 4
    others = {linear.name.split(".")[1] for linear in find_linears(portable, lambda _: True)}
    assert others == {"0", "weight"}
    assert not portable.graph.initializers.keys() & set(stored)
    assert "h.1.mlp.c_fc" in ir.convenience.create_value_mapping(portable.graph)
    assert unmodified(quantize, portable)


def test_two_graphs_share_the_stored_weights(opened: Checkpoint, weights: WeightsFile) -> None:
    name = "h.0.attn.c_attn.weight"
    Int8().store(name, opened.load(name).T, weights)
    models = [build_portable(opened.config, opened.load) for _ in range(2)]
    for model in models:
        assert QuantizeWeights(Int8(), lambda n: n == name, weights)(model).modified
    first, second = (model.graph.initializers[f"{name}.int8"].const_value for model in models)
    assert first is second is weights[f"{name}.int8"]


def test_float16_leaves_only_the_logits_in_float32(
    portable: ir.Model, weights: WeightsFile
) -> None:
    convert = ConvertToFloat16(weights)
    assert convert(portable).modified
    assert "wpe.weight" in weights.errors
    types = {value.dtype for value in portable.graph.initializers.values()}
    assert ir.DataType.FLOAT not in types
    assert portable.graph.outputs[0].dtype == ir.DataType.FLOAT
    assert {value.dtype for value in portable.graph.outputs[1:]} == {ir.DataType.FLOAT16}
    lowest = portable.graph.initializers["lowest"].const_value
    assert lowest is not None
    assert np.isfinite(lowest.numpy())
    assert unmodified(convert, portable)


def test_skip_norms_are_fused_in_the_engine_graph_only(
    engine: ir.Model, portable: ir.Model
) -> None:
    norms = operators(engine).count("LayerNormalization")
    assert FuseSkipNorms()(engine).modified
    assert operators(engine).count("SkipLayerNormalization") == norms - 1  # the first has no sum
    assert "Sum" not in operators(engine)
    assert unmodified(FuseSkipNorms(), engine)
    assert unmodified(FuseSkipNorms(), portable)


def test_the_kv_cache_is_quantized_in_the_engine_graph_only(
    opened: Checkpoint, engine: ir.Model, portable: ir.Model
) -> None:
    shape = (opened.config.n_head, opened.config.head_dim)
    ranges = [(np.ones(shape, np.float32), np.ones(shape, np.float32))] * opened.config.n_layer
    quantize = QuantizeKVCache(ranges)
    assert quantize(engine).modified
    caches = [value for value in engine.graph.inputs if "past_key_values" in str(value.name)]
    assert {value.dtype for value in caches} == {ir.DataType.INT8}
    assert LONG_STEP_INPUT in [value.name for value in engine.graph.inputs]
    assert "GroupQueryAttention" not in operators(engine)  # it is in branches of an If
    assert unmodified(quantize, engine)
    assert unmodified(quantize, portable)
