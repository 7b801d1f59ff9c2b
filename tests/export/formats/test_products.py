"""A format's own product, which calibration compares, is what onnxruntime computes in the graph."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from gpt2xl_export.formats.int8 import Int8
from gpt2xl_export.formats.linears import find_linears
from gpt2xl_export.formats.nbits import NBits
from gpt2xl_export.formats.protocol import Format
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.graph.weights import WeightsFile, externalize
from gpt2xl_export.passes.quantize_weights import QuantizeWeights
from gpt2xl_export.reference.activations import gelu_tanh
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

FORMS: dict[str, Format] = {
    "int8": Int8(),
    "int8-weight": NBits(8, 32),
    **{f"int4 in blocks of {size}": NBits(4, size) for size in (16, 32, 64)},
}
LAYER = "h.0.mlp"


@pytest.fixture
def opened(checkpoint: Path) -> Checkpoint:
    return open_checkpoint(checkpoint)


def mlp_in_graph(
    opened: Checkpoint, name: str, form: Format, x: FloatArray, folder: Path
) -> FloatArray:
    """The output of a linear layer of the first MLP, stored as ``form``, for inputs of the MLP ``x``."""
    model, weight = build_portable(opened.config, opened.load), f"{name}.weight"
    (before,) = find_linears(model, lambda found: found == f"{LAYER}.c_fc.weight")
    start = before.x
    start.type, start.shape = ir.TensorType(ir.DataType.FLOAT), ir.Shape(["n", x.shape[1]])
    with WeightsFile(folder / "data") as weights:
        form.store(weight, opened.load(weight).T, weights)
        QuantizeWeights(form, lambda found: found == weight, weights)(model)
        externalize([model], weights)
    graph = ir.convenience.extract(model.graph, [str(start.name)], [name])
    ir.save(ir.Model(graph, ir_version=model.ir_version), folder / "part.onnx")
    session = ort.InferenceSession(folder / "part.onnx", providers=["CPUExecutionProvider"])
    return np.asarray(session.run([name], {str(start.name): x})[0])


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("linear", ["c_fc", "c_proj"])
def test_a_product_is_that_of_the_graph(
    opened: Checkpoint, tmp_path: Path, form: Format, linear: str
) -> None:
    x = np.random.default_rng(0).normal(size=(50, opened.config.n_embd)).astype(np.float32)
    name = f"{LAYER}.{linear}"
    inputs = x
    if linear == "c_proj":
        before = x @ opened.load(f"{LAYER}.c_fc.weight") + opened.load(f"{LAYER}.c_fc.bias")
        inputs = gelu_tanh(before)
    weight, bias = opened.load(f"{name}.weight"), opened.load(f"{name}.bias")
    found = mlp_in_graph(opened, name, form, x, tmp_path) - bias
    rounding = np.linalg.norm(found - inputs @ weight)
    assert rounding > 1e-3 * np.linalg.norm(found)
    assert np.linalg.norm(found - form.product(inputs, weight)) < 0.05 * rounding
