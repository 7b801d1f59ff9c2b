"""From logits to an id, as the runtime's options ``temperature`` and ``top_k`` and its sampler choose it."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from gpt2xl.processors.scaling import LOWEST_TEMPERATURE
from gpt2xl_export.text_graphs.expressions import INT64, Expressions

FLOAT, DOUBLE = ir.DataType.FLOAT, ir.DataType.DOUBLE


@dataclass(frozen=True)
class Choice:
    """What decides on the tokens of a text; the same for all of them."""

    kept: ir.Value
    """How many of the largest logits are left, [1] int64."""
    divisor: ir.Value
    """The temperature, float64; any where one logit is left."""


def make_choice(e: Expressions, temperature: ir.Value, top_k: ir.Value, vocab_size: int) -> Choice:
    """Read the options: temperature 0 is greedy, top_k 0 keeps the whole vocabulary."""
    every = e.of("Less", e.of("Sub", top_k, 1), 0)
    kept = e.of("Min", e.of("Where", every, vocab_size, top_k), vocab_size)
    is_greedy = e.of("Equal", temperature, e.array(np.array(0.0)))
    kept = e.of("Reshape", e.of("Where", is_greedy, 1, kept), [1])
    return Choice(kept, e.of("Max", temperature, e.array(np.array(LOWEST_TEMPERATURE))))


def chosen_id(e: Expressions, logits: ir.Value, choice: Choice, number: ir.Value) -> ir.Value:
    """The id of the next token, [1].

    ``gpt2xl.decoding.samplers.Categorical`` in float64 on the logits that top-k leaves: the largest first, of a tie the
    lowest id, which is also the order of TopK.

    Args:
        e: gets the nodes.
        logits: of one position, of any shape.
        choice: the options.
        number: the number drawn for this token, [1] float64.
    """
    row = e.cast(e.of("Reshape", logits, [-1]), FLOAT)
    largest, ids = e.several("TopK", 2, row, choice.kept)
    values = e.cast(largest, DOUBLE)
    scaled = e.of("Div", e.of("Sub", values, e.of("Gather", values, [0])), choice.divisor)
    cumulative = e.of("CumSum", e.of("Exp", scaled), 0)
    aim = e.of("Mul", number, e.of("Gather", cumulative, [-1]))
    passed = e.cast(e.of("LessOrEqual", cumulative, aim), INT64)
    position = e.of("Min", e.of("ReduceSum", passed, [0]), e.of("Sub", choice.kept, 1))
    return e.of("Gather", ids, position)
