"""What a format of weight matrices has to provide."""

from typing import Protocol

import onnx_ir as ir

from gpt2xl_export.formats.linears import Linear
from gpt2xl_export.graph.nodes import NodeBuilder
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.source.tensor_files import FloatArray


class Format(Protocol):
    """One way to store weight matrices and to multiply with them.

    What GPTQ has rounded is stored by `NBits.store_rounded` in place of `store`.
    """

    def store(self, name: str, rows: FloatArray, weights: WeightsFile) -> None:
        """Write a matrix to ``weights`` and record the error.

        Args:
            name: of the weight; the names of all stored tensors begin with it.
            rows: [n_out, n_in], may be a transposed view.
            weights: the file.
        """

    def linear(self, new: NodeBuilder, linear: Linear, weights: WeightsFile) -> ir.Value:
        """Add nodes to ``new`` that multiply with what `store` wrote; return their result."""

    def product(self, x: FloatArray, weight: FloatArray) -> FloatArray:
        """What the graph's product of ``x``, [positions, n_in], and ``weight``, [n_in, n_out], comes to."""

    def stored_bytes(self, n_in: int, n_out: int) -> tuple[int, ...]:
        """The size of each array that `store` writes for a matrix; scales come last."""

    def embedding(
        self, new: NodeBuilder, ids: ir.Value, width: int, weights: WeightsFile
    ) -> ir.Value:
        """Add nodes that look up rows of the stored wte.weight: [batch_size, n, width]."""
