"""Everything float32 becomes float16, the logits come out as float32 again."""

from typing import Any

import numpy as np
import onnx_ir as ir

from gpt2xl_export.formats.tiles import Tile, quantize_tiles
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.source.tensor_files import FloatArray

FLOAT, FLOAT16 = ir.DataType.FLOAT, ir.DataType.FLOAT16
LARGEST = float(np.finfo(np.float16).max)


def convert_to_float16(model: ir.Model, weights: WeightsFile) -> dict[str, Any]:
    """Convert ``model`` in place.

    Returns:
        The error of each weight written now; none for those another graph had written.
    """
    errors: dict[str, Any] = {}
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        assert tensor is not None
        if tensor.dtype != FLOAT:
            continue
        if isinstance(tensor, ir.LazyTensor):
            if name not in weights:
                errors[name] = _write(name, tensor.numpy(), weights)
            value.const_value = weights[name]
        else:
            value.const_value = ir.tensor(_halved(tensor.numpy()), name=name)
        value.dtype = FLOAT16
    _retype(model)
    _cast_logits(model)
    return errors


def _halved(values: FloatArray) -> Any:
    """Clipped: the mask's lowest float32 would be -inf, and a row of those NaN."""
    return np.clip(values, -LARGEST, LARGEST).astype(np.float16)


def _write(name: str, values: FloatArray, weights: WeightsFile) -> dict[str, Any]:
    def halve(rows: FloatArray) -> Tile:
        halved = _halved(rows)
        return Tile((halved,), halved.astype(np.float32))

    rows = values.reshape(-1, values.shape[-1])
    (halved,), error = quantize_tiles("fp16", rows, halve)
    weights.add(name, halved.reshape(values.shape))
    return error


def _retype(model: ir.Model) -> None:
    """Declared types: graph inputs and outputs, and the cut points between layers."""
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
    model.graph.append(ir.Node("", "Cast", [half], [ir.AttrInt64("to", FLOAT)], outputs=[logits], name="logits.cast"))  # fmt: skip
    model.graph.outputs[0] = logits
