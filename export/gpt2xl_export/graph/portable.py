"""The portable graph: standard ONNX operators, padding on both sides, logits of every position.

Attention follows the 2-D attention_mask, so rows may be padded left (optimum, transformers.js) or
right (onnxruntime-genai).
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from gpt2xl.bundle.config import GPT2Config
from gpt2xl_export.graph.builder import FLOAT, TOTAL, GraphBuilder, typed
from gpt2xl_export.source.tensor_files import FloatArray


def build_portable(config: GPT2Config, load: Callable[[str], FloatArray]) -> ir.Model:
    """Build the portable graph of docs/bundle.md with lazy weights."""
    builder = GraphBuilder(config, load)
    input_ids, attention_mask, position_ids = inputs = builder.token_inputs()
    past = [builder.past(layer, "past_sequence_length") for layer in range(config.n_layer)]
    allowed = _allowed(builder, input_ids, attention_mask)
    state: list[int | str] = ["batch_size", "sequence_length", config.n_embd]
    x = typed(builder.embed(input_ids, position_ids), FLOAT, state)
    present: list[ir.Value] = []
    for layer, (past_key, past_value) in enumerate(past):
        h = f"h.{layer}"
        attended, *new = _attention(builder, layer, _norm(builder, x, f"{h}.ln_1"), past_key, past_value, allowed)  # fmt: skip
        present += [builder.typed_cache(value, TOTAL) for value in new]
        x = builder.op("Add", [x, attended], f"{h}.attn.residual")
        inner = builder.linear(_norm(builder, x, f"{h}.ln_2"), f"{h}.mlp.c_fc")
        inner = builder.linear(builder.activation(inner, f"{h}.mlp.act"), f"{h}.mlp.c_proj")
        x = typed(builder.op("Add", [x, inner], h), FLOAT, state)
    logits = builder.head(_norm(builder, x, "ln_f"), _logits_shape(builder, input_ids))
    typed(logits, FLOAT, [*state[:2], config.vocab_size])
    inputs += [value for pair in past for value in pair]
    return builder.model(inputs, [logits, *present], "gpt2_portable")


def _allowed(builder: GraphBuilder, input_ids: ir.Value, attention_mask: ir.Value) -> ir.Value:
    """Whether a query may attend to a key, neither later nor padding: [batch, 1, query, key]."""
    zero, one = builder.constant("zero", 0), builder.constant("one", 1)
    length = builder.dimension(input_ids, 1, "sequence_length")
    total = builder.dimension(attention_mask, 1, "total_sequence_length")
    past = builder.op("Sub", [total, length], "past_sequence_length")
    queries = builder.op("Range", [past, total, one], "mask.queries")
    column = builder.op("Unsqueeze", [queries, builder.constant("axes_1", [1])], "mask.column")
    keys = builder.op("Range", [zero, total, one], "mask.keys")
    causal = builder.op("LessOrEqual", [keys, column], "mask.causal")
    real = builder.op("Cast", [attention_mask], "mask.real", {"to": ir.DataType.BOOL})
    rows = builder.op("Unsqueeze", [real, builder.constant("axes_12", [1, 2])], "mask.rows")
    return builder.op("And", [rows, causal], "mask.allowed")


def _norm(builder: GraphBuilder, x: ir.Value, name: str) -> ir.Value:
    weights = [builder.weight(f"{name}.weight"), builder.weight(f"{name}.bias")]
    epsilon = {"epsilon": builder.config.layer_norm_epsilon}
    return builder.op("LayerNormalization", [x, *weights], name, epsilon)


def _attention(
    builder: GraphBuilder,
    layer: int,
    x: ir.Value,
    past_key: ir.Value,
    past_value: ir.Value,
    allowed: ir.Value,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """(projected attention, present key, present value)."""
    name = f"h.{layer}.attn"
    qkv = builder.linear(x, f"{name}.c_attn")
    parts = builder.op_multi_out("Split", [qkv], [f"{name}.{p}_packed" for p in "qkv"], {"axis": -1, "num_outputs": 3})  # fmt: skip
    query, key, value = [
        _heads(builder, p, f"{name}.{n}") for p, n in zip(parts, "qkv", strict=True)
    ]
    key = builder.op("Concat", [past_key, key], f"present.{layer}.key", {"axis": 2})
    value = builder.op("Concat", [past_value, value], f"present.{layer}.value", {"axis": 2})
    scale = builder.constant(f"{name}.scale", builder.config.attention_scale(layer), np.float32)
    query = builder.op("Mul", [query, scale], f"{name}.q_scaled")
    turned = builder.op("Transpose", [key], f"{name}.k_t", {"perm": [0, 1, 3, 2]})
    scores = builder.op("MatMul", [query, turned], f"{name}.scores")
    # Finite: -inf would give NaN in a row of padding only.
    lowest = builder.constant("lowest", float(np.finfo(np.float32).min), np.float32)
    scores = builder.op("Where", [allowed, scores, lowest], f"{name}.masked")
    weights = builder.op("Softmax", [scores], f"{name}.weights", {"axis": -1})
    mixed = builder.op("MatMul", [weights, value], f"{name}.mixed")
    mixed = builder.op("Transpose", [mixed], f"{name}.mixed_t", {"perm": [0, 2, 1, 3]})
    width = builder.constant("merge_heads", [0, 0, builder.config.n_embd])
    merged = builder.op("Reshape", [mixed, width], f"{name}.merged")
    return builder.linear(merged, f"{name}.c_proj"), key, value


def _heads(builder: GraphBuilder, packed: ir.Value, name: str) -> ir.Value:
    """[batch, n, n_embd] -> [batch, n_head, n, head_dim]."""
    config = builder.config
    shape = builder.constant("split_heads", [0, 0, config.n_head, config.head_dim])
    split = builder.op("Reshape", [packed, shape], f"{name}_split")
    return builder.op("Transpose", [split], name, {"perm": [0, 2, 1, 3]})


def _logits_shape(builder: GraphBuilder, input_ids: ir.Value) -> ir.Value:
    rows = builder.op("Shape", [input_ids], "logits.rows")
    width = builder.constant("logits.width", [builder.config.vocab_size])
    return builder.op("Concat", [rows, width], "logits.shape", {"axis": 0})
