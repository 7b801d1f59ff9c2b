"""Weights in 4 or 8 bits with a scale for each block of inputs of an output: MatMulNBits.

A code q stands for (q - 2^(bits - 1)) * scale. There is one code more on the negative side; the
scale may be negative, so that the largest value of a block can use it, whatever its sign.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from gpt2xl_export.formats.linears import Linear
from gpt2xl_export.formats.tiles import Tile, quantize_tiles
from gpt2xl_export.graph.nodes import CONTRIB, NodeBuilder
from gpt2xl_export.graph.rewriting import derived_initializer
from gpt2xl_export.graph.weights import WeightError, WeightsFile
from gpt2xl_export.rounding.gptq import Rounded
from gpt2xl_export.source.tensor_files import FloatArray

Codes = npt.NDArray[np.uint8]
ACCURACY_LEVEL = 4  # int8 activations: on CPUs many times as fast as float ones
OPERATOR = "MatMulNBits"
SCALES, BIAS = 2, 5  # numbers of its inputs


@dataclass(frozen=True)
class NBits:
    """A format of ``bits`` bits; see the module."""

    bits: Literal[4, 8]
    block_size: int
    """Inputs that share a scale."""
    scale_type: type[np.floating[Any]] = np.float32
    scale: Callable[[FloatArray, int], FloatArray] | None = None
    """([block_size, n] weights, bits) -> the scale of each column; None: that which just covers it."""
    part: str = ""
    """Is appended to the names of weights that are stored in another format as well."""

    @property
    def method(self) -> str:
        """The name of the format in the manifest."""
        return f"int{self.bits}, blocks of {self.block_size}"

    def store(self, name: str, rows: FloatArray, weights: WeightsFile) -> None:
        """Round to nearest and write [n_out, blocks, bytes] and [n_out, blocks] scales."""
        (codes, scales), weights.errors[name] = quantize_tiles(self.method, rows, self._nearest)
        self._write(name, codes, scales, weights)

    def store_rounded(self, name: str, rounded: Rounded, weights: WeightsFile) -> None:
        """Write what `store` writes, with the codes and scales that GPTQ chose."""
        codes, scales = self._stored(rounded)
        self._write(name, codes, scales, weights)
        weights.errors[name] = WeightError(
            f"{self.method}, GPTQ", rounded.max_abs_error, rounded.relative_error
        )

    def _write(self, name: str, codes: Codes, scales: FloatArray, weights: WeightsFile) -> None:
        weights.add(f"{name}{self.part}.q{self.bits}", codes)
        weights.add(f"{name}{self.part}.scales", scales.astype(self.scale_type))

    def _stored(self, rounded: Rounded) -> tuple[Codes, FloatArray]:
        """Codes and scales in the layout of MatMulNBits."""
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
        """One MatMulNBits, including the bias."""
        n_in, n_out = linear.shape
        name = f"{linear.name}{self.part}"
        stored = [weights[f"{name}.q{self.bits}"], weights[f"{name}.scales"]]
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

    def stored_bytes(self, n_in: int, n_out: int) -> tuple[int, ...]:
        """Codes and scales."""
        blocks = n_out * -(-n_in // self.block_size)
        scale_bytes = np.dtype(self.scale_type).itemsize
        return blocks * self.block_size * self.bits // 8, blocks * scale_bytes

    def product(self, x: FloatArray, weight: FloatArray) -> FloatArray:
        """The product ``x @ weight`` with both rounded: the inputs of a block to int8, as onnxruntime does on CPUs."""
        blocks = to_blocks(x, self.block_size)
        scales = np.maximum(np.abs(blocks).max(-1, keepdims=True) / np.float32(127), 1e-12)
        restored = (np.rint(blocks / scales) * scales).reshape(len(x), -1)[:, : x.shape[1]]
        return np.asarray(restored @ self._nearest(weight.T).restored.T)

    def embedding(
        self, new: NodeBuilder, ids: ir.Value, width: int, weights: WeightsFile
    ) -> ir.Value:
        """Gather the stored rows, then dequantize them."""
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
    """The inverse of `pack`: [..., bytes] -> [..., 2 * bytes]."""
    low = new.op("BitwiseAnd", [rows, new.constant("low_half", 15, np.uint8)], "wte.low")
    high = new.op(
        "BitShift", [rows, new.constant("half", 4, np.uint8)], "wte.high", {"direction": "RIGHT"}
    )
    last = new.constant("last_axis", [-1])
    pair = [new.op("Unsqueeze", [part, last], f"{part.name}_column") for part in (low, high)]
    pairs = new.op("Concat", pair, "wte.pairs", {"axis": -1})
    return new.op("Reshape", [pairs, new.constant("merge_pairs", [0, 0, 0, -1])], "wte.unpacked")


def scale_columns(new: NodeBuilder, result: ir.Value, factors: FloatArray) -> bool:
    """Multiply the columns of ``result`` by ``factors``: in the scales and the bias of its product.

    Returns:
        Whether ``result`` comes from a MatMulNBits; if not, nothing has changed.
    """
    product = result.producer()
    if product is None or product.op_type != OPERATOR:
        return False
    for number, by in ((SCALES, factors[:, None]), (BIAS, factors)):
        _multiply(new, product, number, by)
    return True


def scale_rows(new: NodeBuilder, x: ir.Value, factors: FloatArray) -> FloatArray | None:
    """Multiply ``x`` by the largest of the ``factors`` of each block: in the scales of its product.

    Args:
        new: where new initializers go.
        x: [..., n_in]
        factors: one a feature, [n_in].

    Returns:
        What each feature is multiplied by, [n_in]. None if ``x`` has any other use than one
        MatMulNBits; nothing has changed then.
    """
    product, *others = x.consumers()
    if others or product.op_type != OPERATOR:
        return None
    size = product.attributes["block_size"].as_int()
    largest = largest_of_blocks(factors, size)
    _multiply(new, product, SCALES, largest[::size])
    return largest


def largest_of_blocks(values: FloatArray, size: int) -> FloatArray:
    """Each of ``values`` replaced by the largest one of its block of ``size``.

    >>> largest_of_blocks(np.array([1, 3, 2, 4, 5]), 2)
    array([3, 3, 4, 4, 5])
    """
    largest = np.maximum.reduceat(values, np.arange(0, len(values), size))
    return np.asarray(np.repeat(largest, size)[: len(values)])


def _multiply(new: NodeBuilder, product: ir.Node, number: int, by: FloatArray) -> None:
    tensor = derived_initializer(product.inputs[number], "scaled", lambda values: values * by)
    product.replace_input_with(number, new.initializer(tensor))


def to_blocks(rows: FloatArray, block_size: int) -> FloatArray:
    """[n_out, n_in] -> [n_out, blocks, block_size], the last block padded with zeros."""
    n_out, n_in = rows.shape
    missing = -n_in % block_size
    if missing:
        rows = np.pad(rows, ((0, 0), (0, missing)))
    return np.ascontiguousarray(rows).reshape(n_out, -1, block_size)


def quantize_blocks(blocks: FloatArray, bits: int) -> tuple[Codes, FloatArray]:
    """Round to nearest: [..., block_size] -> (codes, scales [...])."""
    middle = 1 << (bits - 1)
    at = np.abs(blocks).argmax(-1, keepdims=True)
    scales = np.take_along_axis(blocks, at, -1) / np.float32(-middle)
    return encode(blocks, scales, middle), scales[..., 0]


def encode(blocks: FloatArray, scales: FloatArray, middle: int) -> Codes:
    """The nearest codes of ``blocks``; ``scales`` is [..., 1], ``middle`` the code of 0."""
    safe = np.where(scales == 0, np.float32(1), scales)
    codes = np.rint(blocks / safe) + np.float32(middle)
    return np.clip(codes, 0, 2 * middle - 1).astype(np.uint8)


def dequantize_blocks(codes: Codes, scales: FloatArray, bits: int) -> FloatArray:
    """(codes [..., block_size], scales [...]) -> values."""
    centred = codes.astype(np.float32) - np.float32(1 << (bits - 1))
    return centred * scales[..., None]


def pack(codes: Codes, bits: int) -> Codes:
    """Put two 4-bit codes into a byte, the first in the low half; 8-bit codes stay."""
    if bits == 8:
        return codes
    high = np.left_shift(codes[..., 1::2], 4, dtype=np.uint8)
    return np.bitwise_or(codes[..., ::2], high, dtype=np.uint8)
