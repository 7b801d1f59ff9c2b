"""Keep the engine graph's KV cache in int8: a quarter of its memory and of its traffic.

The scales are constants, taken from the ranges of a calibration text: one for each channel (head and
position in the head) or, for values that a product with blocks of inputs uses, one for each block.
GroupQueryAttention writes the cache and attends to the int8 codes with a single scale of 1, for which
its kernel is faster. The real scales are folded into the weights of the products before and after it, or into a Mul
where these cannot take them. GroupQueryAttention dequantizes the cache again for each position of a
step, so steps of many positions take another branch: `gpt2xl_export.graph.long_steps`.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from gpt2xl.sessions.engine_graph import LONG_STEP_INPUT
from gpt2xl.sessions.exactness import LONG_STEP
from gpt2xl_export.formats import int8, nbits
from gpt2xl_export.graph.builder import typed
from gpt2xl_export.graph.long_steps import HeadRange, StepInputs, attend_in_float, head_groups
from gpt2xl_export.graph.nodes import NodeBuilder
from gpt2xl_export.graph.rewriting import register_initializers, rewriter
from gpt2xl_export.source.tensor_files import FloatArray

INT8, INT64, BOOL = ir.DataType.INT8, ir.DataType.INT64, ir.DataType.BOOL
INT8_MAX = 127
HEADROOM = 1.25  # times the largest value of the calibration text; larger values are clipped
HEAD_SINK = 11  # input number; k_scale and v_scale follow
NO_SINK = -1e30  # a sink of no weight beside any score
OPSET = 24  # TensorScatter

ATTENTION = "GroupQueryAttention"


class QuantizeKVCache(ir.passes.InPlacePass):
    """Rewrite every GroupQueryAttention; the graph gets the optional input `long_step_from`.

    Args:
        ranges: for each layer the largest absolute key and value, [n_head, head_dim] each.
        has_long_steps: whether there is a branch for long steps, and the input; without, all steps attend as short ones.
    """

    def __init__(
        self, ranges: Sequence[tuple[FloatArray, FloatArray]], *, has_long_steps: bool = True
    ) -> None:
        self._ranges = ranges
        self._has_long_steps = has_long_steps

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite ``model``, an engine graph; others are not modified."""
        nodes = [node for node in model.graph if node.op_type == ATTENTION]
        for node, (keys, values) in zip(nodes, self._ranges if nodes else (), strict=True):
            _fold_scales(model, node, _scale(keys), _scale(values))
        if nodes and self._has_long_steps:
            step, is_long = _step_inputs(model, nodes[0], len(self._ranges[0][0]))
            for node in nodes:
                _split_by_length(model, node, step, is_long)
        elif nodes:
            for node in nodes:
                _replace_by_short(model, node)
        if nodes:
            RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, bool(nodes))


def _fold_scales(model: ir.Model, node: ir.Node, keys: FloatArray, values: FloatArray) -> None:
    """Let ``node`` attend to codes: scale its input, the packed q, k and v, and its result.

    Args:
        model: is changed in place.
        node: the attention of a layer.
        keys: their scales, one a feature.
        values: likewise.
    """
    new = rewriter(model)
    by_block = nbits.scale_rows(new, node.outputs[0], values)
    if by_block is None:
        _multiply_result(model, node, values)
    else:
        values = by_block
    factors = np.concatenate([keys, np.reciprocal(keys), np.reciprocal(values)])
    qkv = node.inputs[0]
    assert qkv is not None
    if not any(form.scale_columns(new, qkv, factors) for form in (int8, nbits)):
        row = _row(new, f"{node.name}.steps", factors)
        qkv = new.op("Mul", [qkv, row], f"{node.name}.qkv_codes")
        model.graph.insert_before(node, new.tape.nodes)
        node.replace_input_with(0, qkv)
    register_initializers(model, new)


def _multiply_result(model: ir.Model, node: ir.Node, factors: FloatArray) -> None:
    """Multiply the result of ``node`` by ``factors``, one a feature."""
    mixed, new = node.outputs[0], rewriter(model)
    name, mixed.name = str(mixed.name), f"{mixed.name}_codes"
    result = new.op("Mul", [mixed, _row(new, f"{node.name}.v_scale", factors)], name)
    (multiply,) = new.tape.nodes
    model.graph.insert_after(node, multiply)
    for user, index in list(mixed.uses()):
        if user is not multiply:
            user.replace_input_with(index, result)
    register_initializers(model, new)


def _row(new: NodeBuilder, name: str, values: FloatArray) -> ir.Value:
    return new.initializer(ir.tensor(values, name=name))


def _step_inputs(model: ir.Model, before: ir.Node, n_head: int) -> tuple[StepInputs, ir.Value]:
    """What all layers need of a step, and whether it is long; nodes are inserted ``before`` one."""
    values = ir.convenience.create_value_mapping(model.graph)
    model.graph.opset_imports[""] = OPSET
    new = rewriter(model)
    limit = typed(new.constant(LONG_STEP_INPUT, LONG_STEP), INT64, [])
    shape = new.op("Shape", [values["input_ids"]], "step.shape")
    length = new.op("Gather", [shape, new.constant("axis_1", 1)], "step.length")
    is_long = typed(new.op("GreaterOrEqual", [length, limit], "step.is_long"), BOOL, [])
    past = new.op("Sub", [values["total"], length], "step.past")
    one_number = new.constant("shape_1", [1])
    end = typed(new.op("Reshape", [values["total"], one_number], "step.end"), INT64, [1])
    groups = [HeadRange(*heads, _cache_end(new, heads[1], end)) for heads in head_groups(n_head)]
    batch = new.op("Gather", [shape, new.constant("indices_0", [0])], "step.batch")
    starts = new.op("Expand", [past, batch], "step.write_indices")
    causal = _causal(new, past, values["total"])
    register_initializers(model, new)
    model.graph.insert_before(before, new.tape.nodes)
    model.graph.inputs.append(limit)
    return StepInputs(groups, causal, typed(starts, INT64, ["batch_size"])), is_long


def _cache_end(new: NodeBuilder, head: int, end: ir.Value) -> ir.Value:
    """The end of the used part of the cache for heads up to ``head``, [2] int64: (head, position)."""
    head_end = new.constant(f"numbers_{head}", [head])
    return typed(new.op("Concat", [head_end, end], f"step.end_{head}", {"axis": 0}), INT64, [2])


def _causal(new: NodeBuilder, past: ir.Value, total: ir.Value) -> ir.Value:
    """The mask that is added to scores: 0 where a position may attend to another, else -inf.

    Returns:
        [1, 1, n, total]
    """
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
    """The scale of each channel from its largest value: [n_head, head_dim] -> [n_embd]."""
    scale = np.maximum(largest, np.float32(1e-6)) * np.float32(HEADROOM / INT8_MAX)
    return np.asarray(scale.ravel())


def _attend_to_codes(node: ir.Node, new: NodeBuilder) -> ir.Node:
    """What short steps do: ``node`` over an int8 cache.

    The sinks have no weight, but make onnxruntime choose its plain kernel. For one position after
    900 it is an eighth faster than the flash attention.
    """
    scale = new.constant("one_step", [1], np.float32)
    no_sinks = np.full(node.attributes["num_heads"].as_int(), NO_SINK, np.float32)
    sinks = _row(new, "no_sinks", no_sinks)
    inputs = [*node.inputs, *[None] * (HEAD_SINK - len(node.inputs)), sinks, scale, scale]
    attributes = [*node.attributes.values(), ir.AttrInt64("kv_cache_bit_width", 8)]
    attributes += [ir.AttrString(f"{part}_quant_type", "PER_TENSOR") for part in "kv"]
    outputs = [ir.val(f"{value.name}.short") for value in node.outputs]
    name = f"{node.name}.short"
    return ir.Node(node.domain, node.op_type, inputs, attributes, outputs=outputs, name=name)


def _replace_by_short(model: ir.Model, node: ir.Node) -> None:
    """Replace ``node`` by what short steps do."""
    new = rewriter(model)
    short = _attend_to_codes(node, new)
    register_initializers(model, new)
    _replace(model, node, short)


def _split_by_length(model: ir.Model, node: ir.Node, step: StepInputs, is_long: ir.Value) -> None:
    """Replace ``node`` by an If with a branch for long steps and one for short ones."""
    new = rewriter(model)
    long = attend_in_float(node, step, new)
    at_once = _attend_to_codes(node, new)
    short = ir.Graph([], at_once.outputs, nodes=[at_once], name=at_once.name)
    register_initializers(model, new)
    graphs = [ir.AttrGraph("then_branch", long), ir.AttrGraph("else_branch", short)]
    outputs = [ir.val(None) for _ in node.outputs]
    _replace(
        model,
        node,
        ir.Node("", "If", [is_long], graphs, outputs=outputs, name=f"{node.name}.choice"),
    )


def _replace(model: ir.Model, node: ir.Node, by: ir.Node) -> None:
    """Put ``by`` in the place of ``node``; its cache becomes int8."""
    for cache in (*node.inputs[3:5], *node.outputs[1:3]):
        assert cache is not None
        cache.dtype = INT8
    names = [value.name for value in node.outputs]
    for value, old in zip(by.outputs, node.outputs, strict=True):
        value.type, value.shape = old.type, old.shape
    ir.convenience.replace_nodes_and_values(
        model.graph, node, [node], [by], node.outputs, by.outputs
    )
    for value, name in zip(by.outputs, names, strict=True):
        value.name = name
