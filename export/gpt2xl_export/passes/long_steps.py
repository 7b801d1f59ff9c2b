"""Attention over an int8 cache for steps of many positions: codes become floats once, not once a position."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from gpt2xl_export.graph.nodes import CONTRIB, Attributes, NodeBuilder

FLOAT = ir.DataType.FLOAT
FEATURES, POSITIONS = 2, 2  # axes: of [batch, n, features], of [batch, n_head, n, head_dim]
GROUP = 8  # heads whose scores are computed together: with all 25 of GPT-2 XL at once, attention takes some 8 % longer


@dataclass(frozen=True)
class Heads:
    """Some that follow each other."""

    first: int
    end: int
    """The one after the last."""
    cache_end: ir.Value
    """``end``, and where what is in use of the cache ends: [2] int64."""


@dataclass(frozen=True)
class Step:
    """What all layers know of it; rows are as long as each other."""

    groups: Sequence[Heads]
    causal: ir.Value
    """0 where a position may attend to another, else -inf: [1, 1, n, positions so far]."""
    write_indices: ir.Value
    """Where the new positions begin, [batch] int64."""


def head_groups(n_head: int) -> list[tuple[int, int]]:
    """The first of each group of heads, and the one after its last.

    >>> head_groups(25)
    [(0, 8), (8, 16), (16, 25)]
    """
    count = max(1, n_head // GROUP)
    return list(pairwise(n_head * number // count for number in range(count + 1)))


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

    def build(self) -> ir.Graph:
        qkv, (old_keys, old_values) = self._node.inputs[0], self._node.inputs[3:5]
        one = self._new.constant("one_step", [1], np.float32)
        zero = self._new.constant("code_zero", [0], np.int8)
        # Of queries, too: one pass over all is quicker than to take it apart before.
        codes = self._op("QuantizeLinear", [qkv, one, zero], "codes")
        present = [
            self._present(self._features(codes, part, 0, self._n_head, name), old)
            for part, name, old in ((1, "k", old_keys), (2, "v", old_values))
        ]
        groups = [self._attend(qkv, present, heads) for heads in self._step.groups]
        mixed = groups[0]
        if len(groups) > 1:
            mixed = self._op("Concat", groups, "mixed", {"axis": FEATURES})
        return ir.Graph([], [mixed, *present], nodes=self._new.tape.nodes, name=self._name)

    def _attend(self, qkv: ir.Value | None, present: Sequence[ir.Value], heads: Heads) -> ir.Value:
        """What ``heads`` give: [batch, n, features]."""
        name = f"heads_{heads.first}"
        queries = self._features(qkv, 0, heads.first, heads.end, f"{name}.q")
        keys, values = (self._in_use(cache, heads) for cache in present)
        attributes = {
            "num_heads": heads.end - heads.first,
            "scale": self._node.attributes["scale"].as_float(),
        }
        inputs = [queries, keys, values, None, None, self._step.causal]
        return self._op("MultiHeadAttention", inputs, f"{name}.mixed", attributes, CONTRIB)

    def _in_use(self, cache: ir.Value, heads: Heads) -> ir.Value:
        """[batch, heads, positions so far, head_dim], float32."""
        name = f"{cache.name}.heads_{heads.first}"
        start = self._new.constant(f"numbers_{heads.first}_0", [heads.first, 0])
        axes = self._new.constant("axes_1_2", [1, POSITIONS])
        codes = self._op("Slice", [cache, start, heads.cache_end, axes], f"{name}_in_use")
        return self._op("Cast", [codes], f"{name}_float", {"to": FLOAT})

    def _features(
        self, qkv: ir.Value | None, part: int, first: int, end: int, name: str
    ) -> ir.Value:
        """Those of heads ``first`` to ``end`` in a third of ``qkv``: [batch, n, features]."""
        numbers = [
            self._new.constant(f"numbers_{number}", [number])
            for number in (self._feature(part, first), self._feature(part, end), FEATURES)
        ]
        return self._op("Slice", [qkv, *numbers], name)

    def _feature(self, part: int, head: int) -> int:
        """The first of a head."""
        return (part * self._n_head + head) * self._head_dim

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
