"""The small files of a bundle: configs for four runtimes, tokenizer, model card, licence."""

import json
from pathlib import Path
from typing import Any

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.errors import CheckpointError
from gpt2xl.files.json_values import read_json_if_there
from gpt2xl_export.output.cards import carry_cards
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.tokenizer.source_tokenizer import (
    SourceTokenizer,
    check_ids,
    read_source_tokenizer,
)


def write_companions(checkpoint: Checkpoint, out: Path, suffix: str, dtype: str) -> SourceTokenizer:
    """Write everything but graphs, weights and manifest.

    Args:
        checkpoint: the source; values of its own config files are kept.
        out: the bundle folder.
        suffix: of the graph files, in the spelling of transformers.js: "", "_int8", "_q4"...
        dtype: the precision's name in transformers.js.

    Returns:
        The tokenizer that the files of the source describe.
    """
    source, config = checkpoint.folder, checkpoint.config
    tokenizer = _write_tokenizer(checkpoint, out)
    js = {"dtype": dtype, "use_external_data_format": {f"model{suffix}.onnx": 1}}
    ids = _special_ids(config)
    # An adapter may have untied what the source's config.json ties.
    untied = {} if config.tie_word_embeddings else {"tie_word_embeddings": False}
    changed = ids | untied | {"transformers.js_config": js}
    _write_json(out / "config.json", {**checkpoint.config_json, **changed})
    found = read_json_if_there(source / "generation_config.json", CheckpointError)
    _write_json(out / "generation_config.json", found | ids)
    _write_json(out / "genai_config.json", genai_config(config, f"onnx/model{suffix}.onnx"))
    carry_cards(source, out)
    return tokenizer


def genai_config(config: GPT2Config, graph: str) -> dict[str, Any]:
    """The config of onnxruntime-genai.

    The type is "decoder", as "gpt2" means an older cache layout there. The pad id is -1, as a pad id
    equal to end-of-text would break prompts that end with it.
    """
    eos = sorted(config.eos_token_ids) or [0]
    cache = {"key": "key_names", "value": "value_names"}
    decoder = {
        "session_options": {"log_id": "onnxruntime-genai", "provider_options": []},
        "filename": graph,
        "head_size": config.head_dim,
        "hidden_size": config.n_embd,
        "num_attention_heads": config.n_head,
        "num_key_value_heads": config.n_head,
        "num_hidden_layers": config.n_layer,
        "inputs": {name: name for name in ("input_ids", "attention_mask", "position_ids")}
        | {f"past_{names}": f"past_key_values.%d.{part}" for part, names in cache.items()},
        "outputs": {"logits": "logits"}
        | {f"present_{names}": f"present.%d.{part}" for part, names in cache.items()},
    }
    model = {
        "type": "decoder",
        "bos_token_id": eos[0] if config.bos_token_id is None else config.bos_token_id,
        "eos_token_id": eos[0] if len(eos) == 1 else eos,
        "pad_token_id": -1,
        "vocab_size": config.vocab_size,
        "context_length": config.n_positions,
        "decoder": decoder,
    }
    search = {
        "do_sample": False,
        "max_length": config.n_positions,
        "past_present_share_buffer": False,
    }
    return {"model": model, "search": search}


def _write_tokenizer(checkpoint: Checkpoint, out: Path) -> SourceTokenizer:
    """Write a complete tokenizer.json, and a tokenizer_config.json that changes no id."""
    source, config = checkpoint.folder, checkpoint.config
    tokenizer = read_source_tokenizer(source, config.n_positions)
    check_ids(tokenizer, source, config.vocab_size)
    (out / "tokenizer.json").write_text(tokenizer.json, "utf-8")
    _write_json(out / "tokenizer_config.json", dict(tokenizer.settings))
    return tokenizer


def _special_ids(config: GPT2Config) -> dict[str, Any]:
    return {"bos_token_id": config.bos_token_id, "eos_token_id": config.eos_token_id}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
