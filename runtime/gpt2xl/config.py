"""A GPT-2 config.json as a frozen dataclass."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from gpt2xl.errors import Gpt2xlError

_TYPES: dict[str, tuple[type, ...]] = {
    "activation_function": (str,),
    "layer_norm_epsilon": (float, int),
    "scale_attn_weights": (bool,),
    "scale_attn_by_inverse_layer_idx": (bool,),
    "tie_word_embeddings": (bool,),
    "bos_token_id": (int, type(None)),
    "eos_token_id": (int, tuple, type(None)),
}


@dataclass(frozen=True)
class GPT2Config:
    """The Hugging Face config keys that decide what a GPT-2 computes, under their own names."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    n_inner: int | None = None
    activation_function: str = "gelu_new"
    layer_norm_epsilon: float = 1e-5
    scale_attn_weights: bool = True
    scale_attn_by_inverse_layer_idx: bool = False
    tie_word_embeddings: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.n_embd // self.n_head

    @property
    def inner_dim(self) -> int:
        """Width of the feed-forward layer; 4 * n_embd unless n_inner says otherwise."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """The ids that end a text; may be empty."""
        ids = self.eos_token_id
        return frozenset(() if ids is None else (ids,) if isinstance(ids, int) else ids)

    def attention_scale(self, layer: int) -> float:
        """What attention scores of ``layer`` (from 0) are multiplied with."""
        scale = self.head_dim**-0.5 if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale


def read_json(path: Path, error: type[Gpt2xlError]) -> dict[str, Any]:
    """The JSON object in ``path``; raises ``error`` naming the file when there is none."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise error(f"'{path}' does not exist.") from None
    except (OSError, ValueError, RecursionError) as reason:
        raise error(f"'{path}' cannot be read as JSON: {reason}") from None
    if not isinstance(content, dict):
        raise error(f"'{path}' has to hold a JSON object, but holds a {type(content).__name__}.")
    return content


def read_config(folder: Path, error: type[Gpt2xlError]) -> GPT2Config:
    """The config of the model in ``folder``, end-of-text ids overridden by its generation_config.json.

    Raises:
        error: no config.json, not a GPT-2's, or values that no GPT-2 can have.
    """
    path = folder / "config.json"
    content = read_json(path, error)
    found = content.get("model_type")
    if found != "gpt2":
        raise error(f"'{path}' has model_type {found!r}; only 'gpt2' is supported.")
    generation = folder / "generation_config.json"
    if generation.is_file():
        content["eos_token_id"] = read_json(generation, error).get(
            "eos_token_id", content.get("eos_token_id")
        )
    return _checked(content, path, error)


def _checked(content: dict[str, Any], path: Path, error: type[Gpt2xlError]) -> GPT2Config:
    values = {f.name: content[f.name] for f in fields(GPT2Config) if f.name in content}
    if isinstance(values.get("eos_token_id"), list):
        values["eos_token_id"] = tuple(values["eos_token_id"])
    for name in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"):
        value = values.get(name)
        optional = name == "n_inner" and value is None
        if not optional and (type(value) is not int or value < 1):
            raise error(f"'{path}': {name} has to be a positive integer, but is {value!r}.")
    for name, types in _TYPES.items():
        value = values.get(name)
        items = value if type(value) is tuple else (value,)
        if name in values and not all(type(item) in types for item in items):
            raise error(f"'{path}': {name} cannot be {value!r}.")
    config = GPT2Config(**values)
    if config.layer_norm_epsilon < 0:
        raise error(f"'{path}': layer_norm_epsilon cannot be {config.layer_norm_epsilon}.")
    if any(token_id < 0 for token_id in config.eos_token_ids):
        raise error(f"'{path}': eos_token_id cannot be {config.eos_token_id}.")
    if config.n_embd % config.n_head:
        raise error(
            f"'{path}': n_embd {config.n_embd} is not a multiple of n_head {config.n_head}."
        )
    return config
