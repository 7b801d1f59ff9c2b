"""Write a GPT-2 checkpoint as GGUF for llama.cpp; needs ``pip install gguf safetensors``.

python benchmarks/peers/to_gguf.py CHECKPOINT Q4_0 MODEL.gguf
"""

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors import safe_open

FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
NORMS = {"ln_1": "attn_norm", "ln_2": "ffn_norm"}
LINEARS = {
    "attn.c_attn": "attn_qkv",
    "attn.c_proj": "attn_output",
    "mlp.c_fc": "ffn_up",
    "mlp.c_proj": "ffn_down",
}


def main() -> None:
    """Write settings, vocabulary and tensors."""
    options = _parser().parse_args()
    config = json.loads((options.checkpoint / "config.json").read_text())
    writer = gguf.GGUFWriter(options.out, "gpt2")
    writer.add_file_type(FILE_TYPES[options.kind])
    _add_settings(writer, config)
    _add_vocabulary(writer, options.checkpoint, config)
    kind = gguf.GGMLQuantizationType[options.kind]
    with safe_open(options.checkpoint / "model.safetensors", "np") as tensors:
        for theirs, name in _names(config["n_layer"]).items():
            known = name if name in tensors.keys() else f"transformer.{name}"  # noqa: SIM118
            values = tensors.get_tensor(known).astype(np.float32)
            is_linear = values.ndim == 2 and name.startswith("h.")  # Conv1D keeps [in, out]
            _add_tensor(writer, theirs, values.T if is_linear else values, kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_settings(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_block_count(config["n_layer"])
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(4 * config["n_embd"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])


def _add_vocabulary(writer: gguf.GGUFWriter, checkpoint: Path, config: dict[str, Any]) -> None:
    """Write tokens and merges: end-of-text is the only special token."""
    tokenizer = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary |= {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    merges = tokenizer["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(vocabulary, key=vocabulary.__getitem__))
    types = [gguf.TokenType.NORMAL] * len(vocabulary)
    types[config["eos_token_id"]] = gguf.TokenType.CONTROL
    writer.add_token_types(types)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])


def _names(layers: int) -> dict[str, str]:
    """llama.cpp's name of each tensor -> the checkpoint's."""
    names = {"token_embd.weight": "wte.weight", "position_embd.weight": "wpe.weight"}
    parts = [(i, *pair) for i in range(layers) for pair in (NORMS | LINEARS).items()]
    for part in ("weight", "bias"):
        names[f"output_norm.{part}"] = f"ln_f.{part}"
        names |= {f"blk.{i}.{theirs}.{part}": f"h.{i}.{ours}.{part}" for i, ours, theirs in parts}
    return names


def _add_tensor(
    writer: gguf.GGUFWriter, name: str, values: np.ndarray, kind: gguf.GGMLQuantizationType
) -> None:
    """Quantize matrices; keep everything else, and the position embedding, in float32."""
    values = np.ascontiguousarray(values)
    if values.ndim < 2 or name == "position_embd.weight":
        writer.add_tensor(name, values)
    else:
        writer.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Write a GPT-2 checkpoint as GGUF.")
    parser.add_argument("checkpoint", type=Path, help="Hugging Face folder with vocab.json")
    parser.add_argument("kind", choices=FILE_TYPES)
    parser.add_argument("out", type=Path)
    return parser


if __name__ == "__main__":
    main()
