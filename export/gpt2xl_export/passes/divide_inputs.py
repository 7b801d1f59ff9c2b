"""Divide the inputs of matrices whose outliers nothing before them can take."""

import numpy as np
import onnx_ir as ir

from gpt2xl_export.formats.linears import find_linears
from gpt2xl_export.graph.rewriting import register_initializers, rewriter
from gpt2xl_export.rounding.equalization import MLP_OUT, Changes


class DivideInputs(ir.passes.InPlacePass):
    """Put a Mul before each mlp.c_proj that has divisors; its weight has been multiplied by them.

    Args:
        changes: by name of the linear layer; those of other layers are in the weights before them.
    """

    def __init__(self, changes: Changes) -> None:
        self._divisors = {
            f"{name}.weight": change.divisor
            for name, change in changes.items()
            if name.endswith(MLP_OUT)
        }

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite ``model``, a float32 graph."""
        for linear in find_linears(model, self._divisors.__contains__):
            new, inverse = rewriter(model), np.reciprocal(self._divisors[linear.name])
            name = linear.name.removesuffix(".weight")
            factors = new.initializer(ir.tensor(inverse, name=f"{name}.input_factors"))
            divided = new.op("Mul", [linear.x, factors], f"{name}.input")
            register_initializers(model, new)
            model.graph.insert_before(linear.nodes[0], new.tape.nodes)
            linear.nodes[0].replace_input_with(0, divided)
        return ir.passes.PassResult(model, bool(self._divisors))
