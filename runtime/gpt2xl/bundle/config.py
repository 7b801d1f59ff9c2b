"""A GPT-2 config.json as a frozen dataclass."""

from dataclasses import dataclass, replace
from pathlib import Path

from gpt2xl.errors import Gpt2xlError
from gpt2xl.files.json_values import Value

SIZES = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
"""Sizes that every config has, and the defaults of transformers."""
END_OF_TEXT_ID = 50256
"""bos_token_id and eos_token_id where a config leaves them out; null means that there is none."""
OTHER_NAMES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
"""Source: GPT2Config.attribute_map of transformers 4.57."""
MAX_SIZE = 2**31 - 1


@dataclass(frozen=True)
class GPT2Config:
    """The keys of a Hugging Face config that decide what a GPT-2 computes, under their own names."""

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
        """Width of the feed-forward layer: n_inner, or 4 * n_embd."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @property
    def eos_token_ids(self) -> frozenset[int]:
        """Token ids that end a text; may be empty."""
        ids = self.eos_token_id
        return frozenset(() if ids is None else (ids,) if isinstance(ids, int) else ids)

    def attention_scale(self, layer: int) -> float:
        """The factor of the attention scores in ``layer``, counted from 0."""
        scale = self.head_dim**-0.5 if self.scale_attn_weights else 1.0
        return scale / (layer + 1) if self.scale_attn_by_inverse_layer_idx else scale


def read_config(folder: Path, error: type[Gpt2xlError]) -> GPT2Config:
    """The config of the model in ``folder``, its special ids overridden by its generation_config.json.

    Raises:
        error: no config.json, not a GPT-2's, or values that are impossible.
    """
    return parse_config(Value.read(folder / "config.json", error))


def parse_config(content: Value) -> GPT2Config:
    """The config of a config.json whose content has been read already; errors as of `read_config`."""
    path, error, top = content.file, content.error, resolved(content)
    found = top.get("model_type").content
    if found != "gpt2":
        raise error(f"'{path}' has model_type {found!r}; only 'gpt2' is supported.")
    ids = {name: top.get(name) for name in ("bos_token_id", "eos_token_id")}
    generation = path.with_name("generation_config.json")
    if generation.is_symlink() or generation.exists():
        ids |= {n: v for n, v in Value.read(generation, error).entries().items() if n in ids}
    config = GPT2Config(
        **{name: top.get(name).integer(1, MAX_SIZE) for name in SIZES},
        n_inner=_optional(top.get("n_inner"), 1),
        activation_function=top.get("activation_function", "gelu_new").text(),
        layer_norm_epsilon=_epsilon(top.get("layer_norm_epsilon", 1e-5)),
        scale_attn_weights=top.get("scale_attn_weights", True).flag(),
        scale_attn_by_inverse_layer_idx=top.get("scale_attn_by_inverse_layer_idx", False).flag(),
        tie_word_embeddings=top.get("tie_word_embeddings", True).flag(),
        bos_token_id=_optional(ids["bos_token_id"], 0),
        eos_token_id=_eos(ids["eos_token_id"]),
    )
    if config.n_embd % config.n_head:
        raise error(
            f"'{path}': n_embd {config.n_embd} is not a multiple of n_head {config.n_head}."
        )
    return config


def resolved(config: Value) -> Value:
    """A config.json with every size and special id written out under its GPT-2 name.

    As in transformers, the other name of a size (hidden_size) has precedence over the GPT-2 name (n_embd), and
    n_ctx is ignored.
    """
    content = dict(config.mapping())
    renamed = {own: content.pop(name) for name, own in OTHER_NAMES.items() if name in content}
    defaults = SIZES | {"bos_token_id": END_OF_TEXT_ID, "eos_token_id": END_OF_TEXT_ID}
    return replace(config, content=defaults | content | renamed)


def _optional(value: Value, least: int) -> int | None:
    return None if value.content is None else value.integer(least, MAX_SIZE)


def _epsilon(value: Value) -> float:
    found = value.number()
    return found if 0 <= found <= 1 else value.refuse("a number from 0 to 1")


def _eos(value: Value) -> int | tuple[int, ...] | None:
    if isinstance(value.content, list):
        return tuple(item.integer(0, MAX_SIZE) for item in value.items())
    return _optional(value, 0)
