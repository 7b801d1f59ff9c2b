"""Convert a float32 graph to float16; only the logits come out as float32."""

from typing import Any

import numpy as np
import onnx_ir as ir

from gpt2xl_export.formats.tiles import Tile, quantize_tiles
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.source.tensor_files import FloatArray

FLOAT, FLOAT16 = ir.DataType.FLOAT, ir.DataType.FLOAT16
LARGEST = float(np.finfo(np.float16).max)


class ConvertToFloat16(ir.passes.InPlacePass):
    """Convert all float32 initializers, values and casts.

    Args:
        weights: where converted weights are written, unless another graph has done so.
    """

    def __init__(self, weights: WeightsFile) -> None:
        self._weights = weights

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rewrite ``model``; not modified if no initializer is float32."""
        values = model.graph.initializers.values()
        found = [v for v in values if v.const_value is not None and v.const_value.dtype == FLOAT]
        for value in found:
            self._convert(value)
        if found:
            _retype(model)
            _cast_logits(model)
        return ir.passes.PassResult(model, bool(found))

    def _convert(self, value: ir.Value) -> None:
        tensor, name = value.const_value, str(value.name)
        assert tensor is not None
        if isinstance(tensor, ir.LazyTensor):
            if name not in self._weights:
                self._store(name, tensor.numpy())
            value.const_value = self._weights[name]
        else:
            value.const_value = ir.tensor(_as_float16(tensor.numpy()), name=name)
        value.dtype = FLOAT16

    def _store(self, name: str, values: FloatArray) -> None:
        rows = values.reshape(-1, values.shape[-1])
        (halves,), error = quantize_tiles("fp16", rows, _tile)
        self._weights.add(name, halves.reshape(values.shape))
        self._weights.errors[name] = error


def _tile(rows: FloatArray) -> Tile:
    halves = _as_float16(rows)
    return Tile((halves,), halves.astype(np.float32))


def _as_float16(values: FloatArray) -> Any:
    """Clipped: the mask's lowest float32 would become -inf, and a row of -inf gives NaN."""
    return np.clip(values, -LARGEST, LARGEST).astype(np.float16)


def _retype(model: ir.Model) -> None:
    """Change the declared types of inputs and of values inside, and the targets of casts."""
    produced = [value for node in model.graph for value in node.outputs]
    for value in (*model.graph.inputs, *produced):
        if value.dtype == FLOAT:
            value.dtype = FLOAT16
    for node in model.graph:
        if node.op_type == "Cast" and node.attributes["to"].as_int() == FLOAT:
            node.attributes["to"] = ir.AttrInt64("to", FLOAT16)


def _cast_logits(model: ir.Model) -> None:
    half = model.graph.outputs[0]
    assert half.name == "logits"
    half.name = "logits.half"
    logits = ir.val("logits", FLOAT, half.shape)
    cast = ir.Node(
        "", "Cast", [half], [ir.AttrInt64("to", FLOAT)], outputs=[logits], name="logits.cast"
    )
    model.graph.append(cast)
    model.graph.outputs[0] = logits
