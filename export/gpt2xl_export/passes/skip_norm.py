"""Bias, residual sum and normalization in one operator: on a GPU most of a step is going from kernel to kernel.

On CPUs onnxruntime's SkipLayerNormalization is several times slower than what it takes the place of.
"""

import onnx_ir as ir

from gpt2xl_export.graph.nodes import CONTRIB

BIAS = 5  # input number of MatMulNBits


def fuse_skip_norms(model: ir.Model) -> None:
    """Rewrite every LayerNormalization of a sum in ``model``, an engine graph, in place."""
    for norm in [node for node in model.graph if node.op_type == "LayerNormalization"]:
        summed = norm.inputs[0]
        assert summed is not None
        total = summed.producer()
        if total is not None and total.op_type == "Sum":
            _fuse(model, norm, total)


def _fuse(model: ir.Model, norm: ir.Node, total: ir.Node) -> None:
    residual, x = total.inputs
    product, bias, old = _unbiased(x)
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
        model.graph, norm, [*old, total, norm], [skip], replaced, outputs
    )
    for value, name in zip(outputs, names, strict=True):
        value.name = name


def _unbiased(x: ir.Value | None) -> tuple[ir.Value | None, ir.Value | None, list[ir.Node]]:
    """``x`` before its bias, that bias, and the node that added it, if that is one of its own."""
    assert x is not None
    node = x.producer()
    assert node is not None
    if node.op_type == "Add":
        return node.inputs[0], node.inputs[1], [node]
    bias = node.inputs[BIAS]
    node.replace_input_with(BIAS, None)
    return x, bias, []
