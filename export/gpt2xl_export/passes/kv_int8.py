"""Keep the engine graph's KV cache in int8: a quarter of its memory and of its traffic.

Constant scales, taken from calibration text: one a channel (head x position in the head) or, for values that
a product with blocks of inputs uses, one a block. Keys and values are attended to as codes, so that
GroupQueryAttention, which writes them, has a single scale of 1, its faster way: what a code is a step of
goes into the products before and after, or into a Mul where they cannot take it. It turns the cache into
floats anew for each position of a step, so steps of many positions take the branch in `long_steps`.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from gpt2xl.sessions.exactness import LONG_STEP
from gpt2xl_export.formats import int8, nbits
from gpt2xl_export.formats.linears import drop_unused_weights, rewriter
from gpt2xl_export.graph.builder import typed
from gpt2xl_export.graph.nodes import NodeBuilder
from gpt2xl_export.passes.long_steps import Heads, Step, attend_as_floats, head_groups
from gpt2xl_export.source.tensor_files import FloatArray

INT8, INT64, BOOL = ir.DataType.INT8, ir.DataType.INT64, ir.DataType.BOOL
LIMIT = 127
HEADROOM = 1.25  # over the largest value that calibration saw; beyond it values are clipped
HEAD_SINK = 11  # input number; k_scale and v_scale follow
NO_SINK = -1e30  # nothing beside any score
LONG = "long_step_from"
OPSET = 24  # TensorScatter


def quantize_kv_cache(model: ir.Model, ranges: Sequence[tuple[FloatArray, FloatArray]]) -> None:
    """Rewrite every GroupQueryAttention of ``model`` in place.

    Args:
        model: the engine graph; it gets one more input that has a default, `long_step_from`.
        ranges: for each layer the largest absolute key and value, [n_head, head_dim] each.
    """
    nodes = [node for node in model.graph if node.op_type == "GroupQueryAttention"]
    step, is_long = _step(model, nodes[0], len(ranges[0][0]))
    for node, pair in zip(nodes, ranges, strict=True):
        _attend_to_codes(model, node, [_scale(values) for values in pair])
        new = rewriter(model)
        branches = {"then": attend_as_floats(node, step, new), "else": _short(node, new)}
        _register(model, new)
        _choose(model, node, is_long, branches)
    drop_unused_weights(model)


def _attend_to_codes(model: ir.Model, node: ir.Node, scales: Sequence[FloatArray]) -> None:
    """Queries, keys and values come in steps of a code, and so does the result: make it what it was."""
    keys, values = scales
    new = rewriter(model)
    shared = nbits.scale_rows(new, node.outputs[0], values)
    if shared is None:
        _multiply_result(model, node, values)
    else:
        values = shared
    steps = np.concatenate([keys, np.reciprocal(keys), np.reciprocal(values)])
    qkv = node.inputs[0]
    assert qkv is not None
    if not any(form.scale_columns(new, qkv, steps) for form in (int8, nbits)):
        qkv = new.op("Mul", [qkv, _row(new, f"{node.name}.steps", steps)], f"{node.name}.qkv_codes")
        model.graph.insert_before(node, new.tape.nodes)
        node.replace_input_with(0, qkv)
    _register(model, new)


def _multiply_result(model: ir.Model, node: ir.Node, factors: FloatArray) -> None:
    """Multiply what ``node`` gives by ``factors``, one a feature."""
    mixed, new = node.outputs[0], rewriter(model)
    name, mixed.name = str(mixed.name), f"{mixed.name}_codes"
    result = new.op("Mul", [mixed, _row(new, f"{node.name}.v_scale", factors)], name)
    (multiply,) = new.tape.nodes
    model.graph.insert_after(node, multiply)
    for user, index in list(mixed.uses()):
        if user is not multiply:
            user.replace_input_with(index, result)
    _register(model, new)


def _register(model: ir.Model, new: NodeBuilder) -> None:
    """Give ``model`` the initializers that ``new`` made."""
    for value in new.tape.initializers:
        model.graph.register_initializer(value)


def _row(new: NodeBuilder, name: str, values: FloatArray) -> ir.Value:
    """One number a feature."""
    return new.initializer(ir.tensor(values, name=name))


def _step(model: ir.Model, before: ir.Node, n_head: int) -> tuple[Step, ir.Value]:
    """What all layers know of a step, and whether it is long; computed ``before`` the first of them."""
    values = ir.convenience.create_value_mapping(model.graph)
    model.graph.opset_imports[""] = OPSET
    new = rewriter(model)
    limit = typed(new.constant(LONG, LONG_STEP), INT64, [])
    shape = new.op("Shape", [values["input_ids"]], "step.shape")
    length = new.op("Gather", [shape, new.constant("axis_1", 1)], "step.length")
    is_long = typed(new.op("GreaterOrEqual", [length, limit], "step.is_long"), BOOL, [])
    past = new.op("Sub", [values["total"], length], "step.past")
    one_number = new.constant("shape_1", [1])
    end = typed(new.op("Reshape", [values["total"], one_number], "step.end"), INT64, [1])
    groups = [Heads(*heads, _cache_end(new, heads[1], end)) for heads in head_groups(n_head)]
    batch = new.op("Gather", [shape, new.constant("indices_0", [0])], "step.batch")
    starts = new.op("Expand", [past, batch], "step.write_indices")
    causal = _causal(new, past, values["total"])
    _register(model, new)
    model.graph.insert_before(before, new.tape.nodes)
    model.graph.inputs.append(limit)
    return Step(groups, causal, typed(starts, INT64, ["batch_size"])), is_long


def _cache_end(new: NodeBuilder, head: int, end: ir.Value) -> ir.Value:
    """Both as one, [2] int64."""
    head_end = new.constant(f"numbers_{head}", [head])
    return typed(new.op("Concat", [head_end, end], f"step.end_{head}", {"axis": 0}), INT64, [2])


def _causal(new: NodeBuilder, past: ir.Value, total: ir.Value) -> ir.Value:
    """0 where a new position may attend to one so far, else -inf; [1, 1, n, total]."""
    zero, one = new.constant("axis_0", 0), new.constant("one", 1)
    keys = new.op("Range", [zero, total, one], "step.keys")
    queries = new.op("Range", [past, total, one], "step.queries")
    column = new.op("Unsqueeze", [queries, new.constant("axes_1", [1])], "step.queries_column")
    later = new.op("Greater", [keys, column], "step.later")
    numbers = [new.constant(f"float_{n}", n, np.float32) for n in (-np.inf, 0)]
    causal = new.op("Where", [later, *numbers], "step.causal_2d")
    axes = new.constant("axes_0_1", [0, 1])
    causal = new.op("Unsqueeze", [causal, axes], "step.causal")
    return typed(causal, ir.DataType.FLOAT, [1, 1, "sequence_length", "positions"])


def _scale(largest: FloatArray) -> FloatArray:
    """[n_head, head_dim] -> [n_embd]."""
    scale = np.maximum(largest, np.float32(1e-6)) * np.float32(HEADROOM / LIMIT)
    return np.asarray(scale.ravel())


def _short(node: ir.Node, new: NodeBuilder) -> ir.Graph:
    """``node`` over an int8 cache.

    Where there are sinks, onnxruntime takes its plain kernel, for one position after 900 an eighth faster
    than its flash attention.
    """
    scale = new.constant("one_step", [1], np.float32)
    no_sinks = np.full(node.attributes["num_heads"].as_int(), NO_SINK, np.float32)
    sinks = _row(new, "no_sinks", no_sinks)
    inputs = [*node.inputs, *[None] * (HEAD_SINK - len(node.inputs)), sinks, scale, scale]
    attributes = [*node.attributes.values(), ir.AttrInt64("kv_cache_bit_width", 8)]
    attributes += [ir.AttrString(f"{part}_quant_type", "PER_TENSOR") for part in "kv"]
    outputs = [ir.val(f"{value.name}.short") for value in node.outputs]
    name = f"{node.name}.short"
    short = ir.Node(node.domain, node.op_type, inputs, attributes, outputs=outputs, name=name)
    return ir.Graph([], outputs, nodes=[short], name=name)


def _choose(
    model: ir.Model, node: ir.Node, is_long: ir.Value, branches: Mapping[str, ir.Graph]
) -> None:
    """Put an If in ``node``'s place; its cache is int8 from now on."""
    for cache in (*node.inputs[3:5], *node.outputs[1:3]):
        assert cache is not None
        cache.dtype = INT8
    names = [value.name for value in node.outputs]
    outputs = [ir.val(None, value.dtype, value.shape) for value in node.outputs]
    graphs = [ir.AttrGraph(f"{name}_branch", graph) for name, graph in branches.items()]
    choice = ir.Node("", "If", [is_long], graphs, outputs=outputs, name=f"{node.name}.choice")
    ir.convenience.replace_nodes_and_values(
        model.graph, node, [node], [choice], node.outputs, outputs
    )
    for value, name in zip(outputs, names, strict=True):
        value.name = name
