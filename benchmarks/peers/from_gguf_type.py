"""Write a GPT-2 checkpoint with the dequantized values of its GGUF; needs ``pip install gguf safetensors``.

    python benchmarks/peers/from_gguf_type.py CHECKPOINT Q4_0 OUT
    python benchmarks/precisions.py OUT --corpora CORPORA --only fp32

This shows the loss from rounding the weights; llama.cpp also rounds activations, which is not included.
"""

import argparse
import shutil
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file, save_file


def main() -> None:
    """Quantize and dequantize the tensors that to_gguf.py quantizes, along the same axis."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("kind", choices=["Q4_0", "Q8_0"])
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    kind = gguf.GGMLQuantizationType[options.kind]
    tensors = load_file(options.checkpoint / "model.safetensors")
    for name, values in tensors.items():
        if values.ndim == 2 and not name.endswith("wpe.weight"):
            is_linear = not name.endswith("wte.weight")  # Conv1D keeps [in, out]
            rows = np.ascontiguousarray(values.T if is_linear else values, np.float32)
            rows = gguf.quants.dequantize(gguf.quants.quantize(rows, kind), kind)
            tensors[name] = np.ascontiguousarray(rows.T if is_linear else rows)
    shutil.copytree(options.checkpoint, options.out)
    save_file(tensors, options.out / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
