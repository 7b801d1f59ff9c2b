"""The engine graph: fused operators, a KV cache written in place, logits of the last positions.

At other positions, the last layer only computes keys and values.

GroupQueryAttention expects past and present to be bound to one buffer, and padding on the right only.
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.sessions.engine_graph import KEEP_INPUT
from gpt2xl_export.graph.builder import FLOAT, GraphBuilder, typed
from gpt2xl_export.graph.nodes import CONTRIB
from gpt2xl_export.source.tensor_files import FloatArray

INT32 = ir.DataType.INT32
CAPACITY = "max_sequence_length"


def build_engine(config: GPT2Config, load: Callable[[str], FloatArray]) -> ir.Model:
    """Build the engine graph of docs/bundle.md with lazy weights."""
    builder = GraphBuilder(config, load)
    input_ids, attention_mask, position_ids = inputs = builder.token_inputs()
    past = [builder.past(layer, CAPACITY) for layer in range(config.n_layer)]
    last_position, *lengths = _lengths(builder, attention_mask)
    state: list[int | str] = ["batch_size", "sequence_length", config.n_embd]
    residual = typed(builder.embed(input_ids, position_ids), FLOAT, state)
    normed = typed(_norm(builder, residual, "h.0.ln_1"), FLOAT, state)
    keep = _optional_keep(builder)
    kept = _kept_positions(builder, position_ids, keep, last_position)
    present: list[ir.Value] = []
    for layer, layer_past in enumerate(past):
        h = f"h.{layer}"
        mixed, *new = _attention(builder, layer, normed, layer_past, lengths)
        present += [builder.typed_cache(value, CAPACITY) for value in new]
        if layer + 1 == config.n_layer:
            state[1] = KEEP_INPUT
            mixed, residual = (_at(builder, kept, value) for value in (mixed, residual))
        attended = builder.linear(mixed, f"{h}.attn.c_proj")
        normed, residual = _skip_norm(
            builder, residual, attended, f"{h}.ln_2", f"{h}.attn.residual"
        )
        inner = builder.linear(normed, f"{h}.mlp.c_fc")
        inner = builder.linear(builder.activation(inner, f"{h}.mlp.act"), f"{h}.mlp.c_proj")
        after = f"h.{layer + 1}.ln_1" if layer + 1 < config.n_layer else "ln_f"
        normed, residual = _skip_norm(builder, residual, inner, after, h)
        typed(normed, FLOAT, state)
        typed(residual, FLOAT, state)
    hidden = builder.op("Identity", [normed], "last_hidden_state")
    counts = builder.op("Shape", [kept], "kept_counts", {"end": 2})
    width = builder.constant("logits.width", [config.vocab_size])
    shape = builder.op("Concat", [counts, width], "logits.shape", {"axis": 0})
    logits = typed(
        builder.head(normed, shape), FLOAT, ["batch_size", KEEP_INPUT, config.vocab_size]
    )
    inputs += [*(value for pair in past for value in pair), keep]
    outputs = [logits, *present, typed(hidden, FLOAT, state)]
    return builder.model(inputs, outputs, "gpt2_engine")


def _lengths(
    builder: GraphBuilder, attention_mask: ir.Value
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(index of each row's last token, the same as int32 (seqlens_k), total_sequence_length)."""
    counts = builder.op("ReduceSum", [attention_mask, builder.constant("axes_1", [1])], "real_positions", {"keepdims": 0})  # fmt: skip
    last = builder.op("Sub", [counts, builder.constant("one", 1)], "last_position")
    total = builder.dimension(attention_mask, 1, "total")
    return (
        last,
        builder.op("Cast", [last], "seqlens_k", {"to": INT32}),
        builder.op("Cast", [total], "total_sequence_length", {"to": INT32}),
    )


def _norm(builder: GraphBuilder, x: ir.Value, name: str) -> ir.Value:
    weights = [builder.weight(f"{name}.weight"), builder.weight(f"{name}.bias")]
    epsilon = {"epsilon": builder.config.layer_norm_epsilon}
    return builder.op("LayerNormalization", [x, *weights], name, epsilon)


def _skip_norm(
    builder: GraphBuilder, residual: ir.Value, x: ir.Value, norm: str, total: str
) -> Sequence[ir.Value]:
    """(normalized sum, sum) of ``residual`` and ``x``; the sum is named ``total``.

    On CPUs onnxruntime's SkipLayerNormalization is several times slower. onnxruntime would fuse an Add
    with the norm, but not a Sum.
    """
    summed = builder.op("Sum", [residual, x], total)
    return _norm(builder, summed, norm), summed


def _attention(
    builder: GraphBuilder,
    layer: int,
    x: ir.Value,
    past: tuple[ir.Value, ir.Value],
    lengths: Sequence[ir.Value],
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(attention, present key, present value)."""
    name, config = f"h.{layer}.attn", builder.config
    qkv = builder.linear(x, f"{name}.c_attn")
    heads = {"num_heads": config.n_head, "kv_num_heads": config.n_head}
    mixed, key, value = builder.op_multi_out(
        "GroupQueryAttention",
        [qkv, None, None, *past, *lengths],
        [f"{name}.mixed", f"present.{layer}.key", f"present.{layer}.value"],
        {**heads, "scale": config.attention_scale(layer)},
        CONTRIB,
    )
    return mixed, key, value


def _optional_keep(builder: GraphBuilder) -> ir.Value:
    """An input that is also an initializer: its default is the last position only."""
    return typed(builder.constant(KEEP_INPUT, 1), ir.DataType.INT64, [])


def _kept_positions(
    builder: GraphBuilder, position_ids: ir.Value, keep: ir.Value, last: ir.Value
) -> ir.Value:
    """The indices in this step of the last tokens of each row, before its padding: [batch, keep, 1].

    Everything but shapes is computed on the GPU, if there is one, so that it need not wait.
    """
    zero, one = builder.constant("axis_0", 0), builder.constant("one", 1)
    first = builder.op("Gather", [position_ids, zero], "first_position", {"axis": 1})
    index = builder.op("Sub", [last, first], "last_index")
    index = builder.op("Unsqueeze", [index, builder.constant("axes_1", [1])], "last_index_column")
    back = builder.op("Range", [zero, keep, one], "positions_back")
    index = builder.op("Sub", [index, back], "kept_backwards")
    ends = [
        builder.constant(name, [number])
        for name, number in (("minus_1", -1), ("before_all", np.iinfo(np.int64).min), ("axes_1", 1))
    ]
    index = builder.op("Slice", [index, *ends, builder.constant("minus_1", [-1])], "kept_index")
    index = builder.op("Max", [index, zero], "kept_index_clipped")
    return builder.op("Unsqueeze", [index, builder.constant("axes_2", [2])], "kept_index_column")


def _at(builder: GraphBuilder, positions: ir.Value, x: ir.Value) -> ir.Value:
    """[batch, n, d] -> [batch, keep, d]."""
    return builder.op("GatherND", [x, positions], f"{x.name}.kept", {"batch_dims": 1})
