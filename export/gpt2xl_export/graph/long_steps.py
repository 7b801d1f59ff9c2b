"""Attention over an int8 KV cache for steps of many positions: dequantizes the cache once a step."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import onnx_ir as ir

from gpt2xl_export.graph.nodes import CONTRIB, Attributes, NodeBuilder

FLOAT = ir.DataType.FLOAT
FEATURES = 2  # axis of [batch, n, features]
POSITIONS = 2  # axis of [batch, n_head, n, head_dim]
GROUP = 8  # heads computed together; with all 25 of GPT-2 XL, attention takes some 8 % longer


@dataclass(frozen=True)
class HeadRange:
    """A contiguous range of heads."""

    first: int
    end: int
    """One after the last."""
    cache_end: ir.Value
    """[2] int64: ``end``, and where the used part of the cache ends."""


@dataclass(frozen=True)
class StepInputs:
    """What all layers need of a step; all rows have the same length."""

    groups: Sequence[HeadRange]
    causal: ir.Value
    """0 where a position may attend to another, else -inf: [1, 1, n, positions so far]."""
    write_indices: ir.Value
    """Where the new positions begin in the cache, [batch] int64."""


def head_groups(n_head: int) -> list[tuple[int, int]]:
    """The first head of each group, and the one after its last.

    >>> head_groups(25)
    [(0, 8), (8, 16), (16, 25)]
    """
    count = max(1, n_head // GROUP)
    return list(pairwise(n_head * number // count for number in range(count + 1)))


def attend_in_float(node: ir.Node, step: StepInputs, new: NodeBuilder) -> ir.Graph:
    """A branch with the same outputs as ``node``.

    Args:
        node: a GroupQueryAttention with packed inputs that are already divided by their scales.
        step: what is fed.
        new: gets the nodes; it has none yet.
    """
    return _LongStepBuilder(node, step, new).build()


class _LongStepBuilder:
    def __init__(self, node: ir.Node, step: StepInputs, new: NodeBuilder) -> None:
        self._node, self._step, self._new = node, step, new
        self._name = f"{node.name}.long"
        shape = node.outputs[1].shape
        assert shape is not None
        self._n_head, self._head_dim = int(shape[1]), int(shape[3])  # type: ignore[arg-type] # known

    def build(self) -> ir.Graph:
        qkv, (old_keys, old_values) = self._node.inputs[0], self._node.inputs[3:5]
        one = self._new.constant("one_step", [1], np.float32)
        zero = self._new.constant("code_zero", [0], np.int8)
        # Queries are rounded, too, and not used: one pass over all is quicker than a split before.
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

    def _attend(
        self, qkv: ir.Value | None, present: Sequence[ir.Value], heads: HeadRange
    ) -> ir.Value:
        """The result of ``heads``, [batch, n, features]."""
        name = f"heads_{heads.first}"
        queries = self._features(qkv, 0, heads.first, heads.end, f"{name}.q")
        keys, values = (self._in_use(cache, heads) for cache in present)
        attributes = {
            "num_heads": heads.end - heads.first,
            "scale": self._node.attributes["scale"].as_float(),
        }
        inputs = [queries, keys, values, None, None, self._step.causal]
        return self._op("MultiHeadAttention", inputs, f"{name}.mixed", attributes, CONTRIB)

    def _in_use(self, cache: ir.Value, heads: HeadRange) -> ir.Value:
        """The used part of the cache of ``heads``, dequantized: [batch, heads, positions, head_dim]."""
        name = f"{cache.name}.heads_{heads.first}"
        start = self._new.constant(f"numbers_{heads.first}_0", [heads.first, 0])
        axes = self._new.constant("axes_1_2", [1, POSITIONS])
        codes = self._op("Slice", [cache, start, heads.cache_end, axes], f"{name}_in_use")
        return self._op("Cast", [codes], f"{name}_float", {"to": FLOAT})

    def _features(
        self, qkv: ir.Value | None, part: int, first: int, end: int, name: str
    ) -> ir.Value:
        """Slice the features of heads out of queries (``part`` 0), keys (1) or values (2).

        Args:
            qkv: packed, [batch, n, 3 * n_embd].
            part: which third of ``qkv``.
            first: the first head.
            end: one after the last.
            name: of the node.
        """
        numbers = [
            self._new.constant(f"numbers_{number}", [number])
            for number in (self._feature(part, first), self._feature(part, end), FEATURES)
        ]
        return self._op("Slice", [qkv, *numbers], name)

    def _feature(self, part: int, head: int) -> int:
        """The number of the first feature of a head."""
        return (part * self._n_head + head) * self._head_dim

    def _present(self, codes: ir.Value, old: ir.Value | None) -> ir.Value:
        """The cache ``old`` with the new ``codes``; only these are written if both are one buffer."""
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
