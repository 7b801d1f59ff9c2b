"""int8 weights and activations: each token on a scale of its own, each output column on its own.

One scale for all tokens (DynamicQuantizeMatMul) would let batch mates and chunk sizes change a
result. Activations become uint8 around 128 and weights int8: the pair onnxruntime's fast kernels take.
What an activation function gives is hardly ever negative: its zero is further down, its steps nearly half.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from gpt2xl_export.formats.linears import Linear, changed
from gpt2xl_export.formats.tiles import Tile, quantize_tiles
from gpt2xl_export.graph.nodes import CONTRIB, NodeBuilder
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.source.tensor_files import FloatArray

FLOAT = ir.DataType.FLOAT
LIMIT, LARGEST = 127, 255
MIDDLE = 128
COLUMN_SCALE = 3  # input number of MatMulIntegerToFloat
SMALLEST_SCALE = 1e-12  # a row of zeros has no scale of its own
LOWEST_GELU = -0.1701  # of both forms; the tanh one's minimum, -0.17004, is the lower
# Of what these operators give: the zero point, and the scale from which on all that is negative fits below it.
BOUNDED = {"Gelu": (24, -LOWEST_GELU / 24), "Relu": (0, SMALLEST_SCALE)}


def quantize_rows(values: FloatArray) -> Tile:
    """[n_out, n_in] -> int8 of the same shape and the scale of each row, round to nearest."""
    scales = np.maximum(np.abs(values).max(1) / np.float32(LIMIT), np.float32(SMALLEST_SCALE))
    codes = np.rint(values / scales[:, None])
    return Tile((codes.astype(np.int8), scales), codes * scales[:, None])


class Int8:
    """See the module."""

    def write(
        self, name: str, read: Callable[[], FloatArray], weights: WeightsFile
    ) -> dict[str, Any]:
        """Store [n_in, n_out] int8 and one scale a column."""
        (quantized, scales), error = quantize_tiles("int8", read(), quantize_rows)
        weights.add(f"{name}.int8", np.ascontiguousarray(quantized.T))
        weights.add(f"{name}.scale", scales)
        return error

    def linear(self, new: NodeBuilder, linear: Linear, weights: WeightsFile) -> ir.Value:
        """Activations in steps of their row's scale, the integer product, and both scales put back."""
        name, producer = linear.output.name, linear.x.producer()
        bounds = BOUNDED.get(producer.op_type if producer else "")
        zero_point, least = bounds or (MIDDLE, SMALLEST_SCALE)
        up, down = LARGEST - zero_point, 0 if bounds else LIMIT
        scale = _row_scale(new, linear.x, str(name), up, down, least)
        one = new.constant("unit_scale", 1, np.float32)
        middle = new.constant(f"uint8_zero_point_{zero_point}", zero_point, np.uint8)
        quantized = _quantize_rows(new, linear, scale, middle)
        stored = [weights[f"{linear.name}.{part}"] for part in ("int8", "scale")]
        weight, column = map(new.initializer, stored)
        zero = new.constant("int8_zero_point", 0, np.int8)
        inputs = [quantized, weight, one, column, middle, zero]
        # One pass over the product where MatMulInteger, DequantizeLinear and Mul need three.
        product = new.op("MatMulIntegerToFloat", inputs, f"{name}.product", domain=CONTRIB)
        result = new.op("Mul", [product, scale], f"{name}.scaled")
        if linear.bias is None:
            return result
        if _is_added(linear.output):
            # onnxruntime sums in one thread, and an Add would be fused with the norm after it (graph/engine.py).
            (addition,) = linear.output.consumers()
            addition.op_type = "Sub"
            bias = changed(linear.bias, "negative", np.negative)
            return new.op("Sub", [new.initializer(bias), result], f"{name}.negative")
        return new.op("Add", [result, linear.bias], f"{name}.biased")

    def embedding(
        self, new: NodeBuilder, ids: ir.Value, width: int, weights: WeightsFile
    ) -> ir.Value:
        """Rows of the embedding are columns of what a tied head multiplies with: stored once."""
        table = new.initializer(weights["wte.weight.int8"])
        columns = new.op("Gather", [table, ids], "wte.columns", {"axis": 1})  # [n_embd, batch, n]
        rows = new.op("Transpose", [columns], "wte.int8_rows", {"perm": [1, 2, 0]})
        real = new.op("Cast", [rows], "wte.float_rows", {"to": FLOAT})
        scale = new.op(
            "Gather", [new.initializer(weights["wte.weight.scale"]), ids], "wte.row_scales"
        )
        scale = new.op("Unsqueeze", [scale, new.constant("last_axis", [-1])], "wte.row_scale")
        return new.op("Mul", [real, scale], "wte.rows")


def scale_columns(new: NodeBuilder, result: ir.Value, factors: FloatArray) -> bool:
    """Multiply ``result`` by ``factors``, one a column, in the scales and the bias of its int8 product.

    False, and nothing has changed, when no such product gives ``result``.
    """
    add = result.producer()
    scaled = _producer(add, "Add", 0)
    product = _producer(scaled, "Mul", 0)
    if add is None or product is None or product.op_type != "MatMulIntegerToFloat":
        return False
    for node, number in ((product, COLUMN_SCALE), (add, 1)):
        tensor = changed(node.inputs[number], "scaled", lambda values: values * factors)
        node.replace_input_with(number, new.initializer(tensor))
    return True


def _producer(node: ir.Node | None, op_type: str, number: int) -> ir.Node | None:
    """What makes an input of ``node``, if that is an ``op_type``."""
    value = node.inputs[number] if node is not None and node.op_type == op_type else None
    return None if value is None else value.producer()


def _is_added(x: ir.Value) -> bool:
    """Whether ``x`` is used once, as the second of a Sum of two."""
    users = x.consumers()
    return len(users) == 1 and users[0].op_type == "Sum" and users[0].inputs[1] is x


def _row_scale(
    new: NodeBuilder, x: ir.Value, name: str, up: int, down: int, least: float
) -> ir.Value:
    """What one step of each row is, [..., 1]: ``up`` steps reach its highest, ``down``, if any, its lowest."""
    axis = new.constant("last_axis", [-1])
    highest = new.op("ReduceMax", [x, axis], f"{name}.highest")
    scales = [_over(new, highest, up, f"{name}.up")]
    if down:
        lowest = new.op("ReduceMin", [x, axis], f"{name}.lowest")
        scales.append(_over(new, lowest, -down, f"{name}.down"))
    scales.append(new.constant(f"scale_from_{least}", least, np.float32))
    return new.op("Max", scales, f"{name}.row_scale")


def _over(new: NodeBuilder, x: ir.Value, steps: int, name: str) -> ir.Value:
    return new.op("Mul", [x, new.constant(f"1/{steps}", 1 / steps, np.float32)], f"{name}.step")


def _quantize_rows(
    new: NodeBuilder, linear: Linear, scale: ir.Value, zero_point: ir.Value
) -> ir.Value:
    """The activations in steps of their row's ``scale``, [..., 1]: for QuantizeLinear a row is one block.

    It gives the bits of Div and a QuantizeLinear with a single scale in a quarter of their time.
    """
    name, blocks = linear.output.name, {"axis": -1, "block_size": linear.shape[0]}
    # A zero point a block: what is nothing in steps so large, in one operator instead of Shape and Expand.
    step = new.constant("largest_step", float(np.finfo(np.float32).max), np.float32)
    zero_points = new.op("QuantizeLinear", [scale, step, zero_point], f"{name}.zero_points")
    return new.op("QuantizeLinear", [linear.x, scale, zero_points], f"{name}.quantized", blocks)
