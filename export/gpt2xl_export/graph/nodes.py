"""Collect nodes and initializers, to build a graph or to rewrite one."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

CONTRIB = "com.microsoft"
Attributes = Mapping[str, int | float | str | Sequence[int]]


class NodeBuilder:
    """Nodes in order, and initializers, one for each name.

    Args:
        initializers: of the graph that is rewritten; None for a new graph.
    """

    def __init__(self, initializers: Mapping[str, ir.Value] | None = None) -> None:
        self.tape = ir.tape.Tape()
        self._initializers = dict(initializers or {})

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        name: str,
        attributes: Attributes | None = None,
        domain: str = "",
    ) -> ir.Value:
        """Add a node with one output; both are named ``name``."""
        output = ir.val(name)
        self.tape.op(op_type, inputs, attributes, domain=domain, name=name, output=output)
        return output

    def op_multi_out(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        names: Sequence[str],
        attributes: Attributes | None = None,
        domain: str = "",
    ) -> Sequence[ir.Value]:
        """Add a node with several outputs, named like the first; "" is an unused output."""
        outputs = [ir.val(name) for name in names]
        return self.tape.op_multi_out(
            op_type, inputs, attributes, domain=domain, name=names[0], outputs=outputs
        )

    def constant(
        self, name: str, value: Sequence[int] | float, dtype: npt.DTypeLike = np.int64
    ) -> ir.Value:
        """A small constant; a number becomes a 0-d tensor, as onnxruntime's fusions expect."""
        return self.initializer(ir.tensor(np.array(value, dtype), name=name))

    def initializer(self, tensor: ir.TensorProtocol) -> ir.Value:
        """The initializer named ``tensor.name``; it is added if there is none."""
        assert tensor.name is not None
        if tensor.name not in self._initializers:
            self._initializers[tensor.name] = self.tape.initializer(tensor, tensor.name)
        return self._initializers[tensor.name]
