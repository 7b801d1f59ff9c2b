"""Weights in 4 or 8 bits, a scale for each block of one output's inputs: MatMulNBits.

Symmetric: q - 2^(bits - 1) in steps of a block's scale. The scale may be negative, so that the
largest value of a block, whatever its sign, can take the one code more on the negative side.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from gpt2xl_export.formats.linears import Linear, changed
from gpt2xl_export.formats.tiles import Tile, quantize_tiles
from gpt2xl_export.graph.nodes import CONTRIB, NodeBuilder
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.rounding.gptq import Rounded
from gpt2xl_export.source.tensor_files import FloatArray

Codes = npt.NDArray[np.uint8]
ACCURACY_LEVEL = 4  # int8 activations: many times faster than float ones on CPUs
OPERATOR, SCALES, BIAS = "MatMulNBits", 2, 5  # the numbers of inputs


@dataclass(frozen=True)
class NBits:
    """See the module."""

    bits: Literal[4, 8]
    block_size: int
    rounder: Callable[[str], Rounded] | None = None
    """Codes and scales of a weight, chosen with its inputs in mind (rounder.py)."""
    scale_type: type[np.floating[Any]] = np.float32
    scale: Callable[[FloatArray, int], FloatArray] | None = None
    """Of [block_size, n] weights and bits, the scale of each column; without one, that which just covers it."""

    def write(
        self, name: str, read: Callable[[], FloatArray], weights: WeightsFile
    ) -> dict[str, Any]:
        """Store [n_out, blocks, bytes] and a scale a block."""
        method = f"int{self.bits}, blocks of {self.block_size}"
        if self.rounder is None:
            (codes, scales), error = quantize_tiles(method, read(), self._nearest)
        else:
            rounded = self.rounder(name)
            codes, scales = self._stored(rounded)
            error = {"method": f"{method}, GPTQ", **rounded.error}
        weights.add(f"{name}.q{self.bits}", codes)
        weights.add(f"{name}.scales", scales.astype(self.scale_type))
        return error

    def _stored(self, rounded: Rounded) -> tuple[Codes, FloatArray]:
        """From the checkpoint's layout to MatMulNBits's."""
        codes = (rounded.codes + np.int8(1 << (self.bits - 1))).view(np.uint8)
        packed = np.ascontiguousarray(pack(codes.T, self.bits))  # [n_out, bytes]
        blocks = len(rounded.scales)
        return packed.reshape(len(packed), blocks, -1), np.ascontiguousarray(rounded.scales.T)

    def _nearest(self, rows: FloatArray) -> Tile:
        blocks = to_blocks(rows, self.block_size)
        if self.scale is None:
            codes, scales = quantize_blocks(blocks, self.bits)
        else:
            columns = np.ascontiguousarray(blocks.reshape(-1, self.block_size).T)
            scales = self.scale(columns, self.bits).reshape(blocks.shape[:2])
            codes = encode(blocks, scales[..., None], 1 << (self.bits - 1))
        restored = dequantize_blocks(codes, scales, self.bits).reshape(len(rows), -1)
        return Tile((pack(codes, self.bits), scales), restored[:, : rows.shape[1]])

    def linear(self, new: NodeBuilder, linear: Linear, weights: WeightsFile) -> ir.Value:
        """One MatMulNBits, bias included."""
        n_in, n_out = linear.shape
        stored = [weights[f"{linear.name}.q{self.bits}"], weights[f"{linear.name}.scales"]]
        inputs: list[ir.Value | None] = [linear.x, *map(new.initializer, stored)]
        inputs += [] if linear.bias is None else [None, None, linear.bias]
        sizes = {"K": n_in, "N": n_out, "bits": self.bits, "block_size": self.block_size}
        return new.op(
            OPERATOR,
            inputs,
            f"{linear.output.name}.matmul",
            {**sizes, "accuracy_level": ACCURACY_LEVEL},
            CONTRIB,
        )

    def embedding(
        self, new: NodeBuilder, ids: ir.Value, width: int, weights: WeightsFile
    ) -> ir.Value:
        """Rows gathered as they are stored, then scaled."""
        packed, scales = weights[f"wte.weight.q{self.bits}"], weights["wte.weight.scales"]
        rows = new.op("Gather", [new.initializer(packed), ids], "wte.codes")
        if self.bits == 4:
            rows = _unpacked(new, rows)
        real = new.op("Cast", [rows], "wte.float_codes", {"to": ir.DataType.FLOAT})
        middle = new.constant("middle_code", 1 << (self.bits - 1), np.float32)
        real = new.op("Sub", [real, middle], "wte.centred")
        scale = new.op("Gather", [new.initializer(scales), ids], "wte.block_scales")
        scale = new.op("Unsqueeze", [scale, new.constant("last_axis", [-1])], "wte.scale_column")
        real = new.op("Mul", [real, scale], "wte.scaled_blocks")
        shape = new.constant("merge_blocks", [0, 0, -1])
        rows = new.op("Reshape", [real, shape], "wte.rows")
        if width % self.block_size == 0:
            return rows
        ends = [new.constant(f"slice_{name}", [n]) for name, n in (("start", 0), ("end", width), ("axis", 2))]  # fmt: skip
        return new.op("Slice", [rows, *ends], "wte.unpadded_rows")


def _unpacked(new: NodeBuilder, rows: ir.Value) -> ir.Value:
    """[..., bytes] -> [..., 2 * bytes], as `pack` takes them."""
    low = new.op("BitwiseAnd", [rows, new.constant("low_half", 15, np.uint8)], "wte.low")
    high = new.op(
        "BitShift", [rows, new.constant("half", 4, np.uint8)], "wte.high", {"direction": "RIGHT"}
    )
    last = new.constant("last_axis", [-1])
    pair = [new.op("Unsqueeze", [part, last], f"{part.name}_column") for part in (low, high)]
    pairs = new.op("Concat", pair, "wte.pairs", {"axis": -1})
    return new.op("Reshape", [pairs, new.constant("merge_pairs", [0, 0, 0, -1])], "wte.unpacked")


def scale_columns(new: NodeBuilder, result: ir.Value, factors: FloatArray) -> bool:
    """Multiply ``result`` by ``factors``, one a column, in the scales and the bias of its product.

    False, and nothing has changed, when no MatMulNBits gives ``result``.
    """
    product = result.producer()
    if product is None or product.op_type != OPERATOR:
        return False
    for number, by in ((SCALES, factors[:, None]), (BIAS, factors)):
        _multiply(new, product, number, by)
    return True


def scale_rows(new: NodeBuilder, x: ir.Value, factors: FloatArray) -> FloatArray | None:
    """Multiply ``x`` by ``factors``, one a feature, in the scales of the product that uses it.

    Returns:
        What it is multiplied by: the largest factor of each block, [n_in]. None, and nothing has
        changed, when it is no MatMulNBits that uses ``x``, it alone.
    """
    product, *others = x.consumers()
    if others or product.op_type != OPERATOR:
        return None
    size = product.attributes["block_size"].as_int()
    largest = np.maximum.reduceat(factors, np.arange(0, len(factors), size))
    _multiply(new, product, SCALES, largest)
    return np.repeat(largest, size)[: len(factors)]


def _multiply(new: NodeBuilder, product: ir.Node, number: int, by: FloatArray) -> None:
    tensor = changed(product.inputs[number], "scaled", lambda values: values * by)
    product.replace_input_with(number, new.initializer(tensor))


def to_blocks(rows: FloatArray, block_size: int) -> FloatArray:
    """[n_out, n_in] -> [n_out, blocks, block_size], the last block filled up with zeros."""
    n_out, n_in = rows.shape
    missing = -n_in % block_size
    if missing:
        rows = np.pad(rows, ((0, 0), (0, missing)))
    return np.ascontiguousarray(rows).reshape(n_out, -1, block_size)


def quantize_blocks(blocks: FloatArray, bits: int) -> tuple[Codes, FloatArray]:
    """[..., block_size] -> (codes, scales [...]), round to nearest."""
    middle = 1 << (bits - 1)
    at = np.abs(blocks).argmax(-1, keepdims=True)
    scales = np.take_along_axis(blocks, at, -1) / np.float32(-middle)
    return encode(blocks, scales, middle), scales[..., 0]


def encode(blocks: FloatArray, scales: FloatArray, middle: int) -> Codes:
    """The nearest codes; ``scales`` is [..., 1]."""
    safe = np.where(scales == 0, np.float32(1), scales)
    codes = np.rint(blocks / safe) + np.float32(middle)
    return np.clip(codes, 0, 2 * middle - 1).astype(np.uint8)


def dequantize_blocks(codes: Codes, scales: FloatArray, bits: int) -> FloatArray:
    """(codes [..., block_size], scales [...]) -> values."""
    centred = codes.astype(np.float32) - np.float32(1 << (bits - 1))
    return centred * scales[..., None]


def pack(codes: Codes, bits: int) -> Codes:
    """Two 4-bit codes a byte, the first in the low half."""
    if bits == 8:
        return codes
    high = np.left_shift(codes[..., 1::2], 4, dtype=np.uint8)
    return np.bitwise_or(codes[..., ::2], high, dtype=np.uint8)
