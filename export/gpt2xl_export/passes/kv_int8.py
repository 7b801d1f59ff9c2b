"""Keep the engine graph's KV cache in int8: a quarter of its memory and of its traffic.

GroupQueryAttention quantizes keys and values as it writes them, one constant scale a channel
(head x position in the head), taken from calibration text.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from gpt2xl_export.passes.linears import rewriter
from gpt2xl_export.tensor_files import FloatArray

INT8 = ir.DataType.INT8
LIMIT = 127
HEADROOM = 1.25  # over the largest value that calibration saw; beyond it values are clipped
K_SCALE = 12  # input number; v_scale follows


def quantize_kv_cache(model: ir.Model, ranges: Sequence[tuple[FloatArray, FloatArray]]) -> None:
    """Rewrite every GroupQueryAttention of ``model`` in place.

    Args:
        model: the engine graph.
        ranges: for each layer the largest absolute key and value, [n_head, head_dim] each.
    """
    nodes = [node for node in model.graph if node.op_type == "GroupQueryAttention"]
    for node, pair in zip(nodes, ranges, strict=True):
        new = rewriter(model)
        scales = [
            new.initializer(ir.tensor(_scale(values), name=f"{node.name}.{part}_scale"))
            for part, values in zip("kv", pair, strict=True)
        ]
        for value in new.tape.initializers:
            model.graph.register_initializer(value)
        node.resize_inputs(K_SCALE + 2)
        for offset, scale in enumerate(scales):
            node.replace_input_with(K_SCALE + offset, scale)
        for name in ("k_quant_type", "v_quant_type"):
            node.attributes[name] = ir.AttrString(name, "PER_CHANNEL")
        node.attributes["kv_cache_bit_width"] = ir.AttrInt64("kv_cache_bit_width", 8)
        for cache in (*node.inputs[3:5], *node.outputs[1:3]):
            assert cache is not None
            cache.dtype = INT8


def _scale(largest: FloatArray) -> FloatArray:
    """[n_head, head_dim] -> [1, n_head, 1, head_dim]."""
    scale = np.maximum(largest, np.float32(1e-6)) * np.float32(HEADROOM / LIMIT)
    return scale[None, :, None, :]
