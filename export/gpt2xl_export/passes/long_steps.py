"""Attention over an int8 cache for steps of many positions: codes become floats once, not once a position."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from gpt2xl_export.graph.nodes import CONTRIB, Attributes, NodeBuilder

FLOAT = ir.DataType.FLOAT
FEATURES, POSITIONS = 2, 2  # axes: of [batch, n, features], of [batch, n_head, n, head_dim]


@dataclass(frozen=True)
class Step:
    """What all layers know of it; rows are as long as each other."""

    end: ir.Value
    """Where what is in use of the cache ends, [1] int64."""
    causal: ir.Value
    """0 where a position may attend to another, else -inf: [1, 1, n, positions so far]."""
    write_indices: ir.Value
    """Where the new positions begin, [batch] int64."""


def attend_as_floats(node: ir.Node, step: Step, new: NodeBuilder) -> ir.Graph:
    """A branch with the outputs of ``node``.

    Args:
        node: a GroupQueryAttention; its inputs are packed and in steps of a code.
        step: what is fed.
        new: has no nodes yet.
    """
    return _LongStep(node, step, new).build()


class _LongStep:
    def __init__(self, node: ir.Node, step: Step, new: NodeBuilder) -> None:
        self._node, self._step, self._new = node, step, new
        self._name = f"{node.name}.long"
        shape = node.outputs[1].shape
        assert shape is not None
        self._n_head, self._head_dim = int(shape[1]), int(shape[3])  # type: ignore[arg-type] # known
        self._width = self._n_head * self._head_dim

    def build(self) -> ir.Graph:
        qkv, (old_keys, old_values) = self._node.inputs[0], self._node.inputs[3:5]
        queries = self._slice(qkv, 0, self._width, FEATURES, "q")
        one = self._new.constant("one_step", [1], np.float32)
        zero = self._new.constant("code_zero", [0], np.int8)
        # Of queries, too: one pass over all is quicker than to take it apart before.
        codes = self._op("QuantizeLinear", [qkv, one, zero], "codes")
        present = [
            self._present(
                self._slice(codes, part * self._width, (part + 1) * self._width, FEATURES, name),
                old,
            )
            for part, name, old in ((1, "k", old_keys), (2, "v", old_values))
        ]
        keys, values = (self._in_use(cache) for cache in present)
        attributes = {"num_heads": self._n_head, "scale": self._node.attributes["scale"].as_float()}
        mixed = self._op(
            "MultiHeadAttention",
            [queries, keys, values, None, None, self._step.causal],
            "mixed",
            attributes,
            CONTRIB,
        )
        return ir.Graph([], [mixed, *present], nodes=self._new.tape.nodes, name=self._name)

    def _in_use(self, cache: ir.Value) -> ir.Value:
        """[batch, n_head, positions so far, head_dim], float32."""
        codes = self._slice(cache, 0, self._step.end, POSITIONS, f"{cache.name}_in_use")
        return self._op("Cast", [codes], f"{cache.name}_float", {"to": FLOAT})

    def _present(self, codes: ir.Value, old: ir.Value | None) -> ir.Value:
        """The cache ``old`` with the new ``codes``: nothing else is written where it is the same memory."""
        shape = self._new.constant("heads_shape", [0, 0, self._n_head, self._head_dim])
        rows = self._op("Reshape", [codes, shape], f"{codes.name}_by_head")
        heads = self._op("Transpose", [rows], f"{rows.name}_first", {"perm": [0, 2, 1, 3]})
        inputs = [old, heads, self._step.write_indices]
        return self._op("TensorScatter", inputs, f"{codes.name}_present", {"axis": POSITIONS})

    def _op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        attributes: Attributes | None = None,
        domain: str = "",
    ) -> ir.Value:
        full = name if name.startswith(self._name) else f"{self._name}.{name}"
        return self._new.op(op_type, inputs, full, attributes, domain)

    def _slice(
        self,
        value: ir.Value | None,
        start: int | ir.Value,
        end: int | ir.Value,
        axis: int,
        name: str,
    ) -> ir.Value:
        numbers = [
            number
            if isinstance(number, ir.Value)
            else self._new.constant(f"numbers_{number}", [number])
            for number in (start, end, axis)
        ]
        return self._op("Slice", [value, *numbers], name)
