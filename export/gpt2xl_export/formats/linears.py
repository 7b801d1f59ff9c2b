"""Find the matrix products and the embedding of a float32 graph."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_ir as ir


@dataclass(frozen=True)
class Linear:
    """``x @ weight + bias`` as the float32 graphs compute it, or the head, ``x @ weight.T``."""

    name: str
    """The name of the weight, as in the checkpoint."""
    nodes: tuple[ir.Node, ...]
    """What a replacement removes, in order."""
    bias: ir.Value | None
    weight: ir.Value

    @property
    def x(self) -> ir.Value:
        """The activations, [..., n_in]."""
        value = self.nodes[0].inputs[0]
        assert value is not None
        return value

    @property
    def output(self) -> ir.Value:
        """The result, [..., n_out]."""
        return self.nodes[-1].outputs[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(n_in, n_out)."""
        assert self.weight.shape is not None
        rows, columns = self.weight.shape.numpy()
        is_head = self.nodes[0].op_type == "Gemm"  # stored [n_out, n_in]
        return (columns, rows) if is_head else (rows, columns)


def find_linears(model: ir.Model, is_wanted: Callable[[str], bool]) -> Iterator[Linear]:
    """The products with a weight whose name ``is_wanted``, in graph order."""
    for node in list(model.graph):
        weight = node.inputs[1] if node.op_type in ("MatMul", "Gemm") else None
        if weight is None or not weight.is_initializer() or not is_wanted(str(weight.name)):
            continue
        if node.op_type == "Gemm":
            yield Linear(str(weight.name), (node,), None, weight)
        else:
            (add,) = node.outputs[0].consumers()
            yield Linear(str(weight.name), (node, add), add.inputs[1], weight)


def find_embedding(model: ir.Model) -> ir.Node | None:
    """The Gather of token embeddings, unless it has been replaced."""
    found = (node for node in model.graph if node.op_type == "Gather" and node.name == "wte")
    return next(found, None)
