"""The small files of a bundle: configs for four runtimes, the tokenizer, the model card, the licence."""

import json
import shutil
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, pre_tokenizers, processors

from gpt2xl.config import GPT2Config, resolved
from gpt2xl.errors import CheckpointError
from gpt2xl.json_files import Value, read_json
from gpt2xl.tokenizer import Tokenizer
from gpt2xl_export.cards import carry_cards
from gpt2xl_export.checkpoint import Checkpoint

END_OF_TEXT = "<|endoftext|>"


def write_companions(checkpoint: Checkpoint, out: Path, suffix: str, dtype: str) -> None:
    """Everything but graphs, weights and manifest.

    Args:
        checkpoint: the source; its own files are carried along where it has them.
        out: the bundle folder.
        suffix: of the graph files, as transformers.js spells precisions: "", "_int8", "_q4"...
        dtype: transformers.js's name of the same.
    """
    source, config = checkpoint.folder, checkpoint.config
    _write_tokenizer(source, out)
    found = resolved(Value.read(source / "config.json", CheckpointError)).content
    js = {"dtype": dtype, "use_external_data_format": {f"model{suffix}.onnx": 1}}
    ids = _special_ids(config)
    # The source's may be tied, and untied by an adapter.
    untied = {} if config.tie_word_embeddings else {"tie_word_embeddings": False}
    _write_json(out / "config.json", found | ids | untied | {"transformers.js_config": js})
    generation = source / "generation_config.json"
    found = read_json(generation, CheckpointError) if generation.is_file() else {}
    _write_json(out / "generation_config.json", found | ids)
    _copy_or_write(source, out, "tokenizer_config.json", _tokenizer_config(config))
    _write_json(out / "genai_config.json", genai_config(config, f"onnx/model{suffix}.onnx"))
    for name in ("special_tokens_map.json", "added_tokens.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    carry_cards(source, out)


def genai_config(config: GPT2Config, graph: str) -> dict[str, Any]:
    """What onnxruntime-genai needs; each odd value has its reason.

    The type is "decoder" because "gpt2" means an older cache layout there, and the pad id -1 because
    a pad id equal to end-of-text breaks prompts that end in it.
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


def _write_tokenizer(source: Path, out: Path) -> None:
    path = source / "tokenizer.json"
    vocab, merges, added = (source / n for n in ("vocab.json", "merges.txt", "added_tokens.json"))
    try:
        if path.is_file():
            json_text = path.read_text("utf-8")
        elif vocab.is_file() and merges.is_file():
            json_text = build_tokenizer(vocab, merges, added if added.is_file() else None)
        else:
            raise CheckpointError(
                f"'{source}' holds neither tokenizer.json nor vocab.json and merges.txt."
            )
        Tokenizer(json_text)
    except ValueError as reason:
        raise CheckpointError(f"'{path}': {reason}") from None
    (out / "tokenizer.json").write_text(json_text, "utf-8")


def build_tokenizer(vocab: Path, merges: Path, added: Path | None = None) -> str:
    """The tokenizer.json of GPT-2's own vocab.json and merges.txt, and of an added_tokens.json."""
    try:
        tokenizer = tokenizers.Tokenizer(models.BPE.from_file(str(vocab), str(merges)))
    except Exception as reason:  # tokenizers raises a bare Exception
        raise CheckpointError(f"'{vocab}' and '{merges}' are no BPE: {reason}") from None
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if tokenizer.token_to_id(END_OF_TEXT) is not None:
        tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False)])
    if added is not None:
        _add_tokens(tokenizer, added)
    return str(tokenizer.to_str())


def _add_tokens(tokenizer: tokenizers.Tokenizer, path: Path) -> None:
    """Add what ``path`` maps to ids; an id that does not follow the vocabulary's is refused."""
    ids = read_json(path, CheckpointError)
    for content in sorted(ids, key=lambda content: str(ids[content]).zfill(10)):
        tokenizer.add_tokens([AddedToken(content, normalized=False)])
        if tokenizer.token_to_id(content) != ids[content]:
            raise CheckpointError(
                f"'{path}': {content!r} cannot have id {ids[content]!r}: ids have to go on from"
                " the vocabulary's."
            )


def _special_ids(config: GPT2Config) -> dict[str, Any]:
    return {"bos_token_id": config.bos_token_id, "eos_token_id": config.eos_token_id}


def _tokenizer_config(config: GPT2Config) -> dict[str, Any]:
    tokens = dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    return {"tokenizer_class": "GPT2Tokenizer", "model_max_length": config.n_positions, **tokens}


def _copy_or_write(source: Path, out: Path, name: str, content: dict[str, Any]) -> None:
    if (source / name).is_file():
        shutil.copyfile(source / name, out / name)
    else:
        _write_json(out / name, content)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
