"""Short notation for graphs of many small nodes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from gpt2xl_export.graph.builder import typed
from gpt2xl_export.graph.nodes import Attributes, NodeBuilder

Operand = ir.Value | int | Sequence[int]
"""A value of the graph, or a constant in int64."""
END = np.iinfo(np.int64).max
STRING, INT64, BOOL = ir.DataType.STRING, ir.DataType.INT64, ir.DataType.BOOL


class Expressions(NodeBuilder):
    """Names nodes and constants by itself.

    Args:
        prefix: of all names, so that those of subgraphs differ from those outside.

    >>> e = Expressions("sum")
    >>> e.of("Add", e.constant("one", 1), 2).name
    'sum.Add_0'
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        self._count = 0

    def of(self, op_type: str, *operands: Operand | None, **attributes: int | float) -> ir.Value:
        """The result of an operator of ONNX with one output."""
        return self.op(op_type, [self._value(o) for o in operands], self._name(op_type), attributes)

    def several(
        self, op_type: str, count: int, *operands: Operand, axis: int = -1
    ) -> list[ir.Value]:
        """The first ``count`` results of an operator."""
        name = self._name(op_type)
        names = [f"{name}.{number}" for number in range(count)]
        inputs = [self._value(operand) for operand in operands]
        return [*self.op_multi_out(op_type, inputs, names, {"axis": axis})]

    def concat(self, *operands: Operand, axis: int = 0) -> ir.Value:
        """The operands one after the other."""
        return self.of("Concat", *operands, axis=axis)

    def cut(self, x: Operand, start: Operand, end: Operand, axis: int = 0) -> ir.Value:
        """``x[start:end]`` along ``axis``; the bounds have one element."""
        return self.of("Slice", x, start, end, [axis])

    def cast(self, x: Operand, dtype: ir.DataType) -> ir.Value:
        """``x`` as another type."""
        return self.of("Cast", x, to=int(dtype))

    def all_of(self, *conditions: ir.Value) -> ir.Value:
        """Whether all conditions hold, element by element."""
        result = conditions[0]
        for condition in conditions[1:]:
            result = self.of("And", result, condition)
        return result

    def array(self, values: npt.NDArray[np.generic]) -> ir.Value:
        """A constant of any type."""
        return self.initializer(ir.tensor(values, name=self._name("array")))

    def strings(self, values: Sequence[bytes]) -> ir.Value:
        """A constant of strings, [n]."""
        shape = ir.Shape([len(values)])
        return self.initializer(ir.StringTensor(values, shape=shape, name=self._name("strings")))

    def graph(self, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]) -> ir.Graph:
        """The subgraph of all that was built."""
        return ir.Graph(
            inputs,
            outputs,
            nodes=self.tape.nodes,
            initializers=self.tape.initializers,
            name=self._prefix,
        )

    def nested(
        self,
        op_type: str,
        operands: Sequence[Operand | None],
        body: ir.Graph,
        results: int,
        attributes: Attributes,
    ) -> Sequence[ir.Value]:
        """The results of a Loop or a Scan."""
        name = self._name(op_type)
        outputs = [ir.val(f"{name}.{number}") for number in range(results)]
        inputs = [self._value(operand) for operand in operands]
        return self.tape.op_multi_out(
            op_type, inputs, {**attributes, "body": body}, name=name, outputs=outputs
        )

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}.{kind}_{self._count - 1}"

    def _value(self, operand: Operand | None) -> ir.Value | None:
        if operand is None or isinstance(operand, ir.Value):
            return operand
        shown = str(operand).replace(" ", "")
        return self.constant(f"{self._prefix}.{shown}", operand)


def loop_inputs(prefix: str) -> list[ir.Value]:
    """The first two inputs of a loop's body: the number of the round, and a condition that is always true."""
    number, condition = ir.val(f"{prefix}.round"), ir.val(f"{prefix}.goes_on_in")
    return [typed(number, INT64, []), typed(condition, BOOL, [])]
