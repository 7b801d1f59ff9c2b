"""The order in which logits processors run."""

from typing import Any

from gpt2xl.errors import RequestError

ALWAYS_FIRST = (
    "guidance_scale", "sequence_bias", "repetition_penalty", "no_repeat_ngram_size", "bad_words_ids",
    "min_length", "min_new_tokens", "forced_eos_token_id", "exponential_decay_length_penalty",
    "suppress_tokens", "begin_suppress_tokens",
)  # fmt: skip
OWN = (
    "presence_penalty", "frequency_penalty", "dry_multiplier", "logit_bias", "allowed_token_ids",
    "processors", "grammar", "token_healing",
)  # fmt: skip
"""What transformers does not have runs after what it has, before a draw is shaped."""
SHAPES = (
    "temperature", "top_h", "top_k", "top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff",
    "top_n_sigma", "xtc_probability",
)  # fmt: skip
"""What shapes a draw; greedy texts go without. May get the largest logits only."""
TRANSFORMERS = (*ALWAYS_FIRST, *OWN, *SHAPES, "renormalize_logits")
"""Source: `_get_logits_processor` of transformers 5.24."""
LLAMA_CPP_SHAPES = (
    "top_n_sigma", "top_k", "typical_p", "top_p", "min_p", "xtc_probability", "temperature",
)  # fmt: skip
LLAMA_CPP = (
    "guidance_scale", "logit_bias", "sequence_bias", "repetition_penalty", "frequency_penalty", "presence_penalty",
    "dry_multiplier", "no_repeat_ngram_size", "bad_words_ids", "min_length", "min_new_tokens",
    "forced_eos_token_id", "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
    "allowed_token_ids", "processors", "grammar", "token_healing", "top_h", "epsilon_cutoff", "eta_cutoff", *LLAMA_CPP_SHAPES,
    "renormalize_logits",
)  # fmt: skip
"""llama.cpp's default order of samplers (common.h), the others before; the temperature comes last."""
ORDERS = {"transformers": TRANSFORMERS, "llama.cpp": LLAMA_CPP}


def checked_order(name: str, value: Any) -> str | tuple[str, ...]:
    """A name of an order, or names of processors.

    >>> checked_order("sampler_order", ["top_k", "topp"])
    Traceback (most recent call last):
    gpt2xl.errors.RequestError: sampler_order holds 'topp', which is no logits processor; there are: guidance_scale, ...

    Raises:
        RequestError: an order or a processor that does not exist, or one twice.
    """
    if isinstance(value, str):
        if value not in ORDERS:
            raise RequestError(
                f"{name} has to be one of {', '.join(ORDERS)}, or a list of logits processors, but is {value!r}."
            )
        return value
    if not isinstance(value, tuple | list):
        raise RequestError(f"{name} has to be a list of different names, but is {value!r}.")
    for item in value:
        if item not in TRANSFORMERS:
            raise RequestError(
                f"{name} holds {item!r}, which is no logits processor; there are: {', '.join(TRANSFORMERS)}."
            )
    if len(set(value)) != len(value):
        raise RequestError(f"{name} has to be a list of different names, but is {value!r}.")
    return tuple(value)
