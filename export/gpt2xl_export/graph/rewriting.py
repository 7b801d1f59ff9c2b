"""Replace nodes and initializers of a graph."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from gpt2xl_export.graph.nodes import NodeBuilder
from gpt2xl_export.source.tensor_files import FloatArray


def rewriter(model: ir.Model) -> NodeBuilder:
    """A builder that reuses the initializers ``model`` has."""
    return NodeBuilder(model.graph.initializers)


def register_initializers(model: ir.Model, new: NodeBuilder) -> None:
    """Give ``model`` the initializers that ``new`` made."""
    for value in new.tape.initializers:
        model.graph.register_initializer(value)


def replace_nodes(
    model: ir.Model, old: Sequence[ir.Node], new: NodeBuilder, result: ir.Value
) -> None:
    """Put the nodes of ``new`` in the place of ``old``.

    Args:
        model: is changed in place.
        old: nodes in order; the last one's first output is replaced.
        new: the nodes to insert.
        result: their result, which takes the name of the replaced output.
    """
    output = old[-1].outputs[0]
    result.name, output.name = output.name, None
    register_initializers(model, new)
    ir.convenience.replace_nodes_and_values(
        model.graph, old[-1], old, new.tape.nodes, [output], [result]
    )


def derived_initializer(
    value: ir.Value | None, suffix: str, change: Callable[[FloatArray], FloatArray]
) -> ir.LazyTensor:
    """A float32 tensor that is computed from an initializer when the graph is written.

    Args:
        value: the initializer.
        suffix: is appended to its name.
        change: computes the new values, of the same shape.
    """
    assert value is not None and value.shape is not None

    def compute() -> ir.TensorProtocol:
        assert value is not None and value.const_value is not None
        return ir.tensor(change(np.asarray(value.const_value.numpy(), np.float32)))

    return ir.LazyTensor(compute, ir.DataType.FLOAT, value.shape, name=f"{value.name}.{suffix}")
