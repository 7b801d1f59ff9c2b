"""int8 weights and activations, with a scale for each token and one for each output column.

With one scale for all tokens (DynamicQuantizeMatMul) a result would depend on the other rows of the
batch and on the size of the step. Activations are uint8 with zero point 128 and weights int8, the
pair that onnxruntime has fast kernels for. The output of an activation function is rarely negative:
a lower zero point makes its quantization steps nearly half as large.
"""

import numpy as np
import onnx_ir as ir

from gpt2xl_export.formats.linears import Linear
from gpt2xl_export.formats.tiles import Tile, quantize_tiles
from gpt2xl_export.graph.nodes import CONTRIB, NodeBuilder
from gpt2xl_export.graph.rewriting import derived_initializer
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.source.tensor_files import FloatArray

FLOAT = ir.DataType.FLOAT
INT8_MAX, UINT8_MAX = 127, 255
MIDDLE = 128  # zero point of activations that may be negative
COLUMN_SCALE = 3  # input number of MatMulIntegerToFloat
SMALLEST_SCALE = 1e-12  # for rows of zeros
LOWEST_GELU = -0.1701  # below the minimum of both forms; the tanh form's is the lower, -0.17004
# By operator: the zero point of its output, and the smallest scale with which no code is negative.
BOUNDED = {"Gelu": (24, -LOWEST_GELU / 24), "Relu": (0, SMALLEST_SCALE)}


def quantize_rows(values: FloatArray) -> Tile:
    """Round to nearest: [n_out, n_in] -> int8 of the same shape, and the scale of each row."""
    scales = np.maximum(np.abs(values).max(1) / np.float32(INT8_MAX), np.float32(SMALLEST_SCALE))
    codes = np.rint(values / scales[:, None])
    return Tile((codes.astype(np.int8), scales), codes * scales[:, None])


class Int8:
    """The format int8; see the module."""

    def store(self, name: str, rows: FloatArray, weights: WeightsFile) -> None:
        """Write [n_in, n_out] int8 and a scale for each column."""
        (quantized, scales), error = quantize_tiles("int8", rows, quantize_rows)
        weights.add(f"{name}.int8", np.ascontiguousarray(quantized.T))
        weights.add(f"{name}.scale", scales)
        weights.errors[name] = error

    def linear(self, new: NodeBuilder, linear: Linear, weights: WeightsFile) -> ir.Value:
        """Quantize each row of the activations, multiply as integers, apply both scales."""
        name, bounds = linear.output.name, _bounds(linear.x)
        zero_point, smallest = bounds or (MIDDLE, SMALLEST_SCALE)
        up, down = UINT8_MAX - zero_point, 0 if bounds else INT8_MAX
        scale = _row_scale(new, linear.x, str(name), up, down, smallest)
        one = new.constant("unit_scale", 1, np.float32)
        middle = new.constant(f"uint8_zero_point_{zero_point}", zero_point, np.uint8)
        quantized = _quantize_rows(new, linear, scale, middle)
        stored = [weights[f"{linear.name}.{part}"] for part in ("int8", "scale")]
        weight, column = map(new.initializer, stored)
        zero = new.constant("int8_zero_point", 0, np.int8)
        inputs = [quantized, weight, one, column, middle, zero]
        # One pass over the product; MatMulInteger, DequantizeLinear and Mul would be three.
        product = new.op("MatMulIntegerToFloat", inputs, f"{name}.product", domain=CONTRIB)
        result = new.op("Mul", [product, scale], f"{name}.scaled")
        if linear.bias is None:
            return result
        if _is_added(linear.output):
            # onnxruntime computes Sum in one thread, and would fuse an Add with the norm after it (graph/engine.py).
            (addition,) = linear.output.consumers()
            addition.op_type = "Sub"
            bias = derived_initializer(linear.bias, "negative", np.negative)
            return new.op("Sub", [new.initializer(bias), result], f"{name}.negative")
        return new.op("Add", [result, linear.bias], f"{name}.biased")

    def stored_bytes(self, n_in: int, n_out: int) -> tuple[int, ...]:
        """Codes and scales."""
        return n_in * n_out, 4 * n_out

    def product(self, x: FloatArray, weight: FloatArray) -> FloatArray:
        """The product ``x @ weight`` with both rounded; activation functions count as GELU."""
        bounded = bool(x.min() >= LOWEST_GELU)
        zero_point, smallest = BOUNDED["Gelu"] if bounded else (MIDDLE, SMALLEST_SCALE)
        scale = np.maximum(x.max(1) / (UINT8_MAX - zero_point), smallest)
        if not bounded:
            scale = np.maximum(scale, -x.min(1) / INT8_MAX)
        column = scale.astype(np.float32)[:, None]
        codes = np.clip(np.rint(x / column), -zero_point, UINT8_MAX - zero_point)
        return np.asarray(codes * column @ quantize_rows(weight.T).restored.T)

    def embedding(
        self, new: NodeBuilder, ids: ir.Value, width: int, weights: WeightsFile
    ) -> ir.Value:
        """Look up columns: a tied head multiplies with the same stored [n_embd, vocab_size]."""
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
    """Multiply the columns of ``result`` by ``factors``: in the scales and the bias of its product.

    Returns:
        Whether ``result`` comes from an int8 product; if not, nothing has changed.
    """
    add = result.producer()
    scaled = _producer(add, "Add", 0)
    product = _producer(scaled, "Mul", 0)
    if add is None or product is None or product.op_type != "MatMulIntegerToFloat":
        return False
    for node, number in ((product, COLUMN_SCALE), (add, 1)):
        tensor = derived_initializer(node.inputs[number], "scaled", lambda values: values * factors)
        node.replace_input_with(number, new.initializer(tensor))
    return True


def _producer(node: ir.Node | None, op_type: str, number: int) -> ir.Node | None:
    """The producer of input ``number`` of ``node``, if ``node`` is an ``op_type``."""
    value = node.inputs[number] if node is not None and node.op_type == op_type else None
    return None if value is None else value.producer()


def _bounds(x: ir.Value) -> tuple[int, float] | None:
    """Zero point and smallest scale of an activation function's output, divided or not; None for other values."""
    producer = x.producer()
    if (
        producer is not None
        and producer.op_type == "Mul"
        and producer.inputs[1] is not None
        and producer.inputs[1].is_initializer()
    ):
        assert producer.inputs[0] is not None
        producer = producer.inputs[0].producer()
    return BOUNDED.get(producer.op_type if producer else "")


def _is_added(x: ir.Value) -> bool:
    """Whether ``x`` is only used as the second input of a Sum."""
    users = x.consumers()
    return len(users) == 1 and users[0].op_type == "Sum" and users[0].inputs[1] is x


def _row_scale(
    new: NodeBuilder, x: ir.Value, name: str, up: int, down: int, smallest: float
) -> ir.Value:
    """The scale of each row of ``x``, [..., 1].

    Args:
        new: where the nodes go.
        x: the activations.
        name: the names of the nodes begin with it.
        up: codes above the zero point; the largest value of the row has to fit.
        down: codes below it; so has the smallest value, unless this is 0.
        smallest: scale.
    """
    axis = new.constant("last_axis", [-1])
    highest = new.op("ReduceMax", [x, axis], f"{name}.highest")
    scales = [_over(new, highest, up, f"{name}.up")]
    if down:
        lowest = new.op("ReduceMin", [x, axis], f"{name}.lowest")
        scales.append(_over(new, lowest, -down, f"{name}.down"))
    scales.append(new.constant(f"scale_from_{smallest}", smallest, np.float32))
    return new.op("Max", scales, f"{name}.row_scale")


def _over(new: NodeBuilder, x: ir.Value, steps: int, name: str) -> ir.Value:
    return new.op("Mul", [x, new.constant(f"1/{steps}", 1 / steps, np.float32)], f"{name}.step")


def _quantize_rows(
    new: NodeBuilder, linear: Linear, scale: ir.Value, zero_point: ir.Value
) -> ir.Value:
    """Quantize the activations by the ``scale`` of their row, [..., 1]: one block of QuantizeLinear.

    The bits are those of Div and a QuantizeLinear with a single scale, in a quarter of the time.
    """
    name, blocks = linear.output.name, {"axis": -1, "block_size": linear.shape[0]}
    # Each block needs a zero point. Quantizing by a huge scale yields it for each row, in one operator
    # instead of Shape and Expand.
    step = new.constant("largest_step", float(np.finfo(np.float32).max), np.float32)
    zero_points = new.op("QuantizeLinear", [scale, step, zero_point], f"{name}.zero_points")
    return new.op("QuantizeLinear", [linear.x, scale, zero_points], f"{name}.quantized", blocks)
