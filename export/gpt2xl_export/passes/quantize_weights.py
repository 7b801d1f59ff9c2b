"""Multiply with weights in the format they are stored in."""

from collections.abc import Callable

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from gpt2xl_export.formats.linears import find_embedding, find_linears
from gpt2xl_export.formats.protocol import Format
from gpt2xl_export.graph.rewriting import replace_nodes, rewriter
from gpt2xl_export.graph.weights import WeightsFile


class QuantizeWeights(ir.passes.InPlacePass):
    """Replace the products and the embedding of some weights; their float32 initializers go.

    Args:
        form: the format that has stored these weights.
        is_wanted: whether a weight, by its name, is one of them.
        weights: the file they are stored in.
        embeds: whether the embedding is replaced where its weight is wanted, or only a head that is tied to it.
    """

    def __init__(
        self,
        form: Format,
        is_wanted: Callable[[str], bool],
        weights: WeightsFile,
        *,
        embeds: bool = True,
    ) -> None:
        self._format, self._is_wanted, self._weights = form, is_wanted, weights
        self._embeds = embeds

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite ``model``, a float32 graph."""
        linears = list(find_linears(model, self._is_wanted))
        for linear in linears:
            new = rewriter(model)
            result = self._format.linear(new, linear, self._weights)
            replace_nodes(model, linear.nodes, new, result)
        embeds = self._embeds and self._is_wanted("wte.weight")
        gather = find_embedding(model) if embeds else None
        if gather is not None:
            self._replace_embedding(model, gather)
        modified = bool(linears) or gather is not None
        if modified:
            RemoveUnusedNodesPass()(model)
        return ir.passes.PassResult(model, modified)

    def _replace_embedding(self, model: ir.Model, gather: ir.Node) -> None:
        new, (table, ids) = rewriter(model), gather.inputs
        assert table is not None and table.shape is not None and ids is not None
        width = table.shape.numpy()[1]
        replace_nodes(model, [gather], new, self._format.embedding(new, ids, width, self._weights))
