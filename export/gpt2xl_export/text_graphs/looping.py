"""The loop over the engine graph: each round feeds ids and chooses the next one."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.sessions.engine_graph import KEEP_INPUT, LONG_STEP_INPUT
from gpt2xl_export.graph.builder import typed
from gpt2xl_export.text_graphs.choosing import Choice, chosen_id
from gpt2xl_export.text_graphs.expressions import BOOL, INT64, Expressions, loop_inputs

LOGITS = "logits"


def loop_body(
    engine: ir.Model, choice: Choice, numbers: ir.Value, may_go_on: ir.Value, ends: Sequence[int]
) -> ir.Graph:
    """The engine graph as the body of a loop; it stays in ``engine`` no longer.

    The body takes and gives the ids to feed, how many tokens there are with them, and the cache; it also gives the
    chosen id.

    Args:
        engine: with its weights as external data, which the body keeps: onnxruntime then frees those that it repacks.
        choice: the options, outside of the loop.
        numbers: the drawn number of each round.
        may_go_on: whether ends of text have no effect, bool.
        ends: ids that end a text.
    """
    graph = engine.graph
    before, after = Expressions("round"), Expressions("choose")
    inputs = loop_inputs("round")
    ids, total = graph.inputs[0], typed(ir.val("round.total"), INT64, [1])
    _feed_positions(before, graph, ids, total)
    past = [value for value in graph.inputs if str(value.name).startswith("past_key_values.")]
    present = [value for value in graph.outputs if str(value.name).startswith("present.")]
    logits = next(value for value in graph.outputs if value.name == LOGITS)

    chosen = chosen_id(
        after, logits, choice, after.of("Gather", numbers, after.of("Reshape", inputs[0], [1]))
    )
    goes_on = _goes_on(after, chosen, may_go_on, ends)
    following = typed(after.of("Reshape", chosen, [1, 1]), INT64, [1, "fed"])
    longer = typed(after.of("Add", total, 1), INT64, [1])

    nodes = [*before.tape.nodes, *graph, *after.tape.nodes]
    weights = [*graph.initializers.values(), *before.tape.initializers, *after.tape.initializers]
    graph.remove(list(graph))
    for value in list(graph.initializers):
        graph.initializers.pop(value)
    graph.inputs.clear()
    graph.outputs.clear()
    return ir.Graph(
        [*inputs, ids, total, *past],
        [goes_on, following, longer, *present, typed(chosen, INT64, [1])],
        nodes=nodes,
        initializers=weights,
        name="round",
    )


def cache_shape(e: Expressions, config: GPT2Config, length: ir.Value) -> ir.Value:
    """The shape of one tensor of the cache for ``length`` positions, [1]."""
    heads, width = e.array(np.array([1, config.n_head])), e.array(np.array([config.head_dim]))
    return e.concat(heads, length, width)


def empty_cache(e: Expressions, engine: ir.Model, shape: ir.Value) -> ir.Value:
    """One tensor for all of the cache: the loop copies it where it is written."""
    past = next(v for v in engine.graph.inputs if str(v.name).startswith("past_key_values."))
    assert past.dtype is not None
    zero = e.array(np.zeros(1, past.dtype.numpy()))
    return e.of("Expand", zero, shape)


def _feed_positions(e: Expressions, graph: ir.Graph, ids: ir.Value, total: ir.Value) -> None:
    """Compute the mask and the positions of the engine graph from the number of tokens."""
    known = {str(value.name): value for value in graph.inputs}
    count = e.of("Shape", ids)
    fed = e.cut(count, [1], [2])
    first, end = (e.of("Squeeze", x) for x in (e.of("Sub", total, fed), total))
    positions = e.of("Unsqueeze", e.of("Range", first, end, 1), [0])
    mask = e.of("Expand", 1, e.concat([1], total))
    for name, value in (("attention_mask", mask), ("position_ids", positions)):
        known[name].replace_all_uses_with(value)
    for name in (KEEP_INPUT, LONG_STEP_INPUT):
        assert name not in known or name in graph.initializers  # now a constant: its default


def _goes_on(
    e: Expressions, chosen: ir.Value, may_go_on: ir.Value, ends: Sequence[int]
) -> ir.Value:
    """Whether another round follows as far as ``chosen`` is concerned."""
    is_other = e.of("Not", _is_end(e, chosen, ends))
    return typed(e.of("Squeeze", e.of("Or", is_other, may_go_on)), BOOL, [])


def _is_end(e: Expressions, chosen: ir.Value, ends: Sequence[int]) -> ir.Value:
    """Whether ``chosen``, [1], is among ``ends``: [1]."""
    found = e.cast(e.of("Equal", chosen, [*ends] or [-1]), INT64)
    return e.cast(e.of("ReduceMax", found, [0], keepdims=1), BOOL)


def stopped(e: Expressions, ids: ir.Value, may_go_on: ir.Value, ends: Sequence[int]) -> ir.Value:
    """Whether the last of ``ids`` has ended the text, [1]; False where there are none."""
    last = e.cut(e.concat([-2], ids), [-1], [np.iinfo(np.int64).max])
    return e.of("And", _is_end(e, last, ends), e.of("Not", may_go_on))
