"""Keep the engine graph's KV cache in int8: a quarter of its memory and of its traffic.

GroupQueryAttention quantizes keys and values as it writes them, one constant scale a channel
(head x position in the head), taken from calibration text. It turns the cache into floats anew for
each position of a step, so steps of many positions take the branch in `long_steps`.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from gpt2xl_export.graph.builder import typed
from gpt2xl_export.graph.nodes import NodeBuilder
from gpt2xl_export.passes.linears import rewriter
from gpt2xl_export.passes.long_steps import Step, attend_as_floats
from gpt2xl_export.tensor_files import FloatArray

INT8, INT64, BOOL = ir.DataType.INT8, ir.DataType.INT64, ir.DataType.BOOL
LIMIT = 127
HEADROOM = 1.25  # over the largest value that calibration saw; beyond it values are clipped
K_SCALE = 12  # input number; v_scale follows
LONG = "long_step_from"
# Shorter steps give the same bits however a text is cut into them: speculation, whose steps have up to 8
# positions, relies on it.
LONG_FROM = 9


def quantize_kv_cache(model: ir.Model, ranges: Sequence[tuple[FloatArray, FloatArray]]) -> None:
    """Rewrite every GroupQueryAttention of ``model`` in place.

    Args:
        model: the engine graph; it gets one more input that has a default, `long_step_from`.
        ranges: for each layer the largest absolute key and value, [n_head, head_dim] each.
    """
    nodes = [node for node in model.graph if node.op_type == "GroupQueryAttention"]
    step, is_long = _step(model, nodes[0])
    for node, pair in zip(nodes, ranges, strict=True):
        scales = [_scale(values) for values in pair]
        new = rewriter(model)
        whole = _quantized(node, scales, new)
        floats = attend_as_floats(node, scales, step, new)
        for value in new.tape.initializers:
            model.graph.register_initializer(value)
        _choose(model, node, is_long, floats, whole)


def _step(model: ir.Model, before: ir.Node) -> tuple[Step, ir.Value]:
    """What all layers know of a step, and whether it is long; computed ``before`` the first of them."""
    values = ir.convenience.create_value_mapping(model.graph)
    new = rewriter(model)
    limit = typed(new.constant(LONG, LONG_FROM), INT64, [])
    shape = new.op("Shape", [values["input_ids"]], "step.shape")
    length = new.op("Gather", [shape, new.constant("axis_1", 1)], "step.length")
    is_long = typed(new.op("GreaterOrEqual", [length, limit], "step.is_long"), BOOL, [])
    past = new.op("Sub", [values["total"], length], "step.past")
    one = new.constant("shape_1", [1])
    ends = [
        new.op("Reshape", [value, one], f"step.{name}")
        for value, name in ((past, "past_end"), (values["total"], "end"))
    ]
    for value in new.tape.initializers:
        model.graph.register_initializer(value)
    model.graph.insert_before(before, new.tape.nodes)
    model.graph.inputs.append(limit)
    return Step(*(typed(end, INT64, [1]) for end in ends)), is_long


def _scale(largest: FloatArray) -> FloatArray:
    """[n_head, head_dim] -> [1, n_head, 1, head_dim]."""
    scale = np.maximum(largest, np.float32(1e-6)) * np.float32(HEADROOM / LIMIT)
    return scale[None, :, None, :]


def _quantized(node: ir.Node, scales: Sequence[FloatArray], new: NodeBuilder) -> ir.Graph:
    """``node`` with an int8 cache."""
    inputs = [*node.inputs, *[None] * (K_SCALE - len(node.inputs))]
    inputs += [
        new.initializer(ir.tensor(scale, name=f"{node.name}.{part}_scale"))
        for part, scale in zip("kv", scales, strict=True)
    ]
    attributes = [*node.attributes.values(), ir.AttrInt64("kv_cache_bit_width", 8)]
    attributes += [ir.AttrString(f"{part}_quant_type", "PER_CHANNEL") for part in "kv"]
    outputs = [ir.val(f"{value.name}.short") for value in node.outputs]
    name = f"{node.name}.short"
    short = ir.Node(node.domain, node.op_type, inputs, attributes, outputs=outputs, name=name)
    return ir.Graph([], outputs, nodes=[short], name=name)


def _choose(
    model: ir.Model, node: ir.Node, is_long: ir.Value, floats: ir.Graph, whole: ir.Graph
) -> None:
    """Put an If in ``node``'s place; its cache is int8 from now on."""
    for cache in (*node.inputs[3:5], *node.outputs[1:3]):
        assert cache is not None
        cache.dtype = INT8
    names = [value.name for value in node.outputs]
    outputs = [ir.val(None, value.dtype, value.shape) for value in node.outputs]
    branches = [ir.AttrGraph("then_branch", floats), ir.AttrGraph("else_branch", whole)]
    choice = ir.Node("", "If", [is_long], branches, outputs=outputs, name=f"{node.name}.choice")
    ir.convenience.replace_nodes_and_values(
        model.graph, node, [node], [choice], node.outputs, outputs
    )
    for value, name in zip(outputs, names, strict=True):
        value.name = name
