"""Names that transformers has and `GenerationOptions` has not: what each becomes here."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from gpt2xl.errors import RequestError

RENAMED = {"negative_prompt_ids": "negative_prompt", "stop_sequence": "stop_strings"}
"""Options that have another name here."""
WITHOUT_EFFECT = frozenset({
    "use_cache", "cache_implementation", "cache_config", "max_cache_len", "return_legacy_cache", "low_memory",
    "prefill_chunk_size", "compile_config", "disable_compile", "continuous_batching_config", "use_mtp",
    "speculation_type", "is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "assistant_lookbehind", "target_lookbehind", "assistant_early_exit",
    "prompt_lookup_num_tokens", "max_matching_ngram_size", "remove_invalid_values", "pad_token_id", "bos_token_id",
    "decoder_start_token_id", "transformers_version", "_from_model_config", "num_workers", "padding", "synced_gpus",
})  # fmt: skip
"""They concern memory, speed or padding, and change no text."""
SCORES = "Model.generate(..., logprobs=5) reports log-probabilities"
CHAT = "a base model has no chat template, so pass the text itself"
ENCODER = "GPT-2 has no encoder"
NOT_HERE: Mapping[str, tuple[Any, str]] = {
    "encoder_repetition_penalty": (1.0, ENCODER),
    "encoder_no_repeat_ngram_size": (0, ENCODER),
    "forced_bos_token_id": (None, ENCODER),
    "output_attentions": (False, "the graphs have no such output"),
    "output_hidden_states": (False, "use pipeline('feature-extraction') or Model.features"),
    "output_scores": (False, SCORES),
    "output_logits": (False, SCORES),
    "return_dict_in_generate": (False, SCORES),
    "logprobs": (None, SCORES),
    "prompt_logprobs": (None, "Model.score reports log-probabilities of a text"),
    "watermarking_config": (None, "gpt2xl sets no watermarks"),
    "constraints": (None, "use grammar=gpt2xl.Grammar.regex(...)"),
    "force_words_ids": (None, "use grammar=gpt2xl.Grammar.regex(...)"),
    "dola_layers": (None, "the graphs have the last layer only"),
    "assistant_ensemble_weight": (None, "a draft model never changes a text here"),
    "assistant_model": (None, "use Model.generate(..., draft=model)"),
    "assistant_tokenizer": (None, "use Model.generate(..., draft=model)"),
    "streamer": (None, "use Model.stream or Model.astream"),
    "logits_processor": (None, "use processors=(function of ids and logits,)"),
    "stopping_criteria": (None, "use stopping=function of all ids"),
    "prefix_allowed_tokens_fn": (None, "use grammar= or processors="),
    "custom_generate": (None, "use processors= or sampler="),
    "return_type": (None, "use return_full_text or return_tensors"),
    "continue_final_message": (None, CHAT),
    "tools": (None, CHAT),
    "documents": (None, CHAT),
}
"""By name: the value that asks for nothing, and what to do instead."""


def translated(given: Mapping[str, Any]) -> dict[str, Any]:
    """``given`` by our names, without what has no effect or is None, which is transformers' "not set".

    >>> translated({"use_cache": True, "output_scores": False, "top_k": 5, "min_p": None})
    {'top_k': 5}

    Raises:
        RequestError: an option that this library does not have.
    """
    found = dict[str, Any]()
    for name, value in given.items():
        if value is None or name in WITHOUT_EFFECT:
            continue
        if name in NOT_HERE:
            nothing, instead = NOT_HERE[name]
            if value != nothing:
                raise RequestError(f"a pipeline has no {name}: leave it out; {instead}.")
            continue
        new_name = RENAMED.get(name, name)
        if new_name != name and given.get(new_name) is not None:
            raise RequestError(f"{name} and {new_name} are the same option: give only one.")
        found[new_name] = value
    return found


def unknown_option(name: str, known: frozenset[str]) -> TypeError:
    """The error for an option that does not exist; names the closest one of ``known``."""
    close = get_close_matches(name, sorted(known), 1, 0.5)
    hint = f"did you mean '{close[0]}'?" if close else "see gpt2xl.GenerationOptions for all."
    return TypeError(f"there is no option '{name}'; {hint}")
