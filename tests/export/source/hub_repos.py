"""What the hub of the tests has."""

import random

CONFIG = {
    "config.json": b'{"model_type": "gpt2"}',
    "merges.txt": b"#version\n",
    "vocab.json": b"{}",
}
OTHERS = {
    "tf_model.h5": b"tf",
    "rust_model.ot": b"rust",
    "flax_model.msgpack": b"flax",
    "onnx/decoder_model.onnx": b"onnx",
    "onnx/config.json": b"{}",
    ".gitattributes": b"",
    "64.tflite": b"tflite",
}
ADAPTER = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"small"}
TOKENIZER = {
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "special_tokens_map.json": b"{}",
    "added_tokens.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
}
BIG = random.Random(0).randbytes(24 << 20)  # huggingface_hub writes pieces of 10 MiB
SHARDS = {
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "model-00001-of-00002.safetensors": b"first",
    "model-00002-of-00002.safetensors": b"second",
}
REPOS = {
    "openai-community/gpt2": CONFIG
    | OTHERS
    | {"model.safetensors": b"weights", "pytorch_model.bin": b"pickle", "LICENSE.md": b"MIT"},
    "o/big": CONFIG | {"model.safetensors": BIG},
    "o/sharded": CONFIG | SHARDS | {"pytorch_model.bin": b"pickle"},
    "o/pickled": CONFIG | {"pytorch_model.bin": b"pickle", "model.safetensors.index.json": b"{}"},
    "o/weightless": CONFIG | OTHERS,
    "o/shardless": CONFIG | {name: SHARDS[name] for name in list(SHARDS)[:2]},
    "o/configless": {"model.safetensors": b"weights"},
    "o/adapter": ADAPTER | OTHERS | {"tokenizer.json": b"{}", "training_args.bin": b"pickle"},
    "o/pickled-adapter": {"adapter_config.json": b"{}", "adapter_model.bin": b"pickle"},
    "o/talkative": CONFIG | TOKENIZER | {"model.safetensors": b"weights", "NOTICE": b"of whom"},
}
