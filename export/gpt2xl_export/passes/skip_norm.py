"""Fuse bias, residual sum and layer norm into one operator, for GPUs.

On a GPU much of a step is the time between kernels. On CPUs onnxruntime's SkipLayerNormalization
is several times slower than the operators it replaces.
"""

import onnx_ir as ir

from gpt2xl_export.graph.nodes import CONTRIB

BIAS = 5  # input number of MatMulNBits


class FuseSkipNorms(ir.passes.InPlacePass):
    """Replace every LayerNormalization of a Sum, as the engine graph has them."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite ``model``."""
        norms = [node for node in model.graph if node.op_type == "LayerNormalization"]
        sums = [(norm, _producer(norm.inputs[0])) for norm in norms]
        fused = [(norm, total) for norm, total in sums if total and total.op_type == "Sum"]
        for norm, total in fused:
            _fuse(model, norm, total)
        return ir.passes.PassResult(model, bool(fused))


def _producer(value: ir.Value | None) -> ir.Node | None:
    return None if value is None else value.producer()


def _fuse(model: ir.Model, norm: ir.Node, total: ir.Node) -> None:
    residual, x = total.inputs
    product, bias, bias_nodes = _take_bias(x)
    inputs = [product, residual, *norm.inputs[1:], bias]
    replaced = [norm.outputs[0], total.outputs[0]]
    names = [value.name for value in replaced]
    outputs = [ir.val(None, value.dtype, value.shape) for value in replaced]
    skip = ir.Node(
        CONTRIB,
        "SkipLayerNormalization",
        inputs,
        [norm.attributes["epsilon"]],
        outputs=[outputs[0], ir.val(""), ir.val(""), outputs[1]],
        name=norm.name,
    )
    ir.convenience.replace_nodes_and_values(
        model.graph, norm, [*bias_nodes, total, norm], [skip], replaced, outputs
    )
    for value, name in zip(outputs, names, strict=True):
        value.name = name


def _take_bias(x: ir.Value | None) -> tuple[ir.Value | None, ir.Value | None, list[ir.Node]]:
    """(``x`` without its bias, the bias, the Add that is no longer needed, if there was one)."""
    node = _producer(x)
    assert node is not None
    if node.op_type == "Add":
        return node.inputs[0], node.inputs[1], [node]
    bias = node.inputs[BIAS]
    node.replace_input_with(BIAS, None)
    return x, bias, []
