"""Find the matrix products of a float32 graph and put something else in their place."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir

from gpt2xl_export.graph.nodes import NodeBuilder
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.source.tensor_files import FloatArray


def load(weight: ir.Value | None) -> FloatArray:
    """The values of a float32 initializer, read now."""
    assert weight is not None
    assert weight.const_value is not None
    return np.asarray(weight.const_value.numpy(), np.float32)


def changed(
    values: ir.Value | None, how: str, change: Callable[[FloatArray], FloatArray]
) -> ir.LazyTensor:
    """An initializer made of another one when the graph is written."""
    assert values is not None and values.shape is not None
    shape, name = values.shape, f"{values.name}.{how}"
    return ir.LazyTensor(
        lambda: ir.tensor(change(load(values))), ir.DataType.FLOAT, shape, name=name
    )


@dataclass(frozen=True)
class Linear:
    """``x @ weight + bias`` as the float32 graphs write it, or the head, ``x @ weight.T``."""

    name: str
    """Of the weight, as in the checkpoint."""
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
    def is_head(self) -> bool:
        """Whether the weight is stored [n_out, n_in] and shared with the embedding, if tied."""
        return self.nodes[0].op_type == "Gemm"

    @property
    def shape(self) -> tuple[int, int]:
        """(n_in, n_out)."""
        assert self.weight.shape is not None
        rows, columns = self.weight.shape.numpy()
        return (columns, rows) if self.is_head else (rows, columns)

    def load(self) -> FloatArray:
        """The weight, read from the checkpoint: [n_out, n_in], maybe a transposed view."""
        values = load(self.weight)
        return values if self.is_head else values.T


def find_linears(model: ir.Model, wants: Callable[[str], bool]) -> Iterator[Linear]:
    """The products whose weight's name ``wants``, in graph order."""
    for node in list(model.graph):
        weight = node.inputs[1] if node.op_type in ("MatMul", "Gemm") else None
        if weight is None or not weight.is_initializer() or not wants(str(weight.name)):
            continue
        if node.op_type == "Gemm":
            yield Linear(str(weight.name), (node,), None, weight)
        else:
            (add,) = node.outputs[0].consumers()
            yield Linear(str(weight.name), (node, add), add.inputs[1], weight)


def find_embeddings(model: ir.Model, wants: Callable[[str], bool]) -> Iterator[ir.Node]:
    """The Gather of token embeddings, if their weight is one that ``wants``."""
    for node in list(model.graph):
        if node.op_type == "Gather" and node.name == "wte" and wants("wte.weight"):
            yield node


def rewriter(model: ir.Model) -> NodeBuilder:
    """A builder that knows the initializers ``model`` has."""
    return NodeBuilder(model.graph.initializers)


def replace(model: ir.Model, old: tuple[ir.Node, ...], new: NodeBuilder, result: ir.Value) -> None:
    """Put the nodes of ``new`` where ``old`` are; ``result`` takes the place and name of their output."""
    graph, output = model.graph, old[-1].outputs[0]
    result.name, output.name = output.name, None
    for value in new.tape.initializers:
        graph.register_initializer(value)
    ir.convenience.replace_nodes_and_values(graph, old[-1], old, new.tape.nodes, [output], [result])


class Format(Protocol):
    """One way to store weights and to multiply with them."""

    def write(
        self, name: str, read: Callable[[], FloatArray], weights: WeightsFile
    ) -> dict[str, Any]:
        """Store the [n_out, n_in] of ``read`` under names that begin with ``name``; the error of this."""

    def linear(self, new: NodeBuilder, linear: Linear, weights: WeightsFile) -> ir.Value:
        """Nodes that multiply with what ``write`` stored; their result."""

    def embedding(
        self, new: NodeBuilder, ids: ir.Value, width: int, weights: WeightsFile
    ) -> ir.Value:
        """Nodes that read rows of what ``write`` stored for wte.weight; [batch_size, n, width]."""


def store_as(
    form: Format, model: ir.Model, weights: WeightsFile, wants: Callable[[str], bool]
) -> dict[str, Any]:
    """Give the products and the embedding whose weight ``wants`` another format, in place.

    Returns:
        The error of each weight written now; none for those another graph had written.
    """
    errors: dict[str, Any] = {}
    written = set(weights.groups)
    for linear in find_linears(model, wants):
        if linear.name not in written:
            errors[linear.name] = form.write(linear.name, linear.load, weights)
        new = rewriter(model)
        replace(model, linear.nodes, new, form.linear(new, linear, weights))
    for gather in find_embeddings(model, wants):
        if "wte.weight" not in written | errors.keys():
            errors["wte.weight"] = form.write(
                "wte.weight", partial(load, gather.inputs[0]), weights
            )
        new, (table, ids) = rewriter(model), gather.inputs
        assert table is not None and table.shape is not None and ids is not None
        width = table.shape.numpy()[1]
        replace(model, (gather,), new, form.embedding(new, ids, width, weights))
    drop_unused_weights(model)
    weights.groups.update(errors)
    return errors


def drop_unused_weights(model: ir.Model) -> None:
    """Leave no initializer in ``model`` that nothing uses."""
    for name, value in list(model.graph.initializers.items()):
        if not value.consumers():
            del model.graph.initializers[name]
