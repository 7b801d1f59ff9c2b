"""Divided inputs of mlp.c_proj, with weights that are multiplied, change nothing in float32."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from gpt2xl import ParityError
from gpt2xl_export.check.difference import Tolerance
from gpt2xl_export.check.parity import Prompts, check_parity
from gpt2xl_export.formats.int8 import Int8
from gpt2xl_export.graph.engine import build_engine
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.graph.weights import WeightsFile, externalize
from gpt2xl_export.passes.divide_inputs import DivideInputs
from gpt2xl_export.passes.quantize_weights import QuantizeWeights
from gpt2xl_export.rounding.equalization import Change, equalized
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint

BUILDERS = {"portable": build_portable, "engine": build_engine}
TEXTS = Prompts([[1, 2, 3], [200]], [5, 7] * 10)
NAME = "h.1.mlp.c_proj"
BY = np.exp(np.random.default_rng(0).normal(size=128)).astype(np.float32)
CHANGE = Change(np.zeros_like(BY), BY)
FREE = {"h.0.attn.c_attn": Change(BY[:32], BY[:32])}


@pytest.fixture
def opened(checkpoint: Path) -> Checkpoint:
    return open_checkpoint(checkpoint)


def built(kind: str, opened: Checkpoint) -> ir.Model:
    """A float32 graph with the weight of one mlp.c_proj multiplied."""
    even = equalized(opened, {NAME: CHANGE})
    return BUILDERS[kind](even.config, even.load)


def check(model: ir.Model, kind: str, opened: Checkpoint, data: Path) -> None:
    with WeightsFile(data) as weights:
        externalize([model], weights)
    exact = Tolerance(relative_logit_diff=1e-5)
    check_parity(opened, {kind: model}, data.parent, TEXTS, exact, lambda *_: None)


@pytest.mark.parametrize("kind", BUILDERS)
def test_a_graph_that_divides_is_the_checkpoint_in_float32(
    opened: Checkpoint, tmp_path: Path, kind: str
) -> None:
    model = built(kind, opened)
    changes = {NAME: CHANGE} | FREE
    assert DivideInputs(changes)(model).modified
    assert [node.name for node in model.graph if str(node.name).endswith(".input")] == [
        f"{NAME}.input"
    ]
    check(model, kind, opened, tmp_path / "divided")
    with pytest.raises(ParityError):
        check(built(kind, opened), kind, opened, tmp_path / "undivided")


def test_without_changes_of_mlp_outputs_nothing_changes(opened: Checkpoint) -> None:
    model = build_portable(opened.config, opened.load)
    before = [node.name for node in model.graph]
    for changes in ({}, FREE):
        assert not DivideInputs(changes)(model).modified
        assert [node.name for node in model.graph] == before


@pytest.mark.parametrize(("function", "zero_point"), [("gelu_new", 24), ("relu", 0), ("tanh", 128)])
def test_divided_activations_keep_the_zero_point_of_their_function(
    make_checkpoint: Callable[..., Path], tmp_path: Path, function: str, zero_point: int
) -> None:
    opened = open_checkpoint(make_checkpoint({"activation_function": function}))
    model, weight = built("engine", opened), f"{NAME}.weight"
    DivideInputs({NAME: CHANGE})(model)
    with WeightsFile(tmp_path / "data") as weights:
        Int8().store(weight, opened.load(weight).T, weights)
        QuantizeWeights(Int8(), weight.__eq__, weights)(model)
    (product,) = [node for node in model.graph if node.op_type == "MatMulIntegerToFloat"]
    quantize, found = product.inputs[0], product.inputs[4]
    assert quantize is not None
    quantizing = quantize.producer()
    assert quantizing is not None
    divided = quantizing.inputs[0]
    assert divided is not None
    assert divided.name == f"{NAME}.input"
    assert found is not None
    assert found.const_value is not None
    assert int(found.const_value.numpy()) == zero_point
