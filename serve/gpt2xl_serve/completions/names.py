"""Fields that clients of llama.cpp's server and of text-generation-webui send under other names than ours."""

import json
from collections.abc import Mapping
from typing import Any

from gpt2xl_serve.errors import ApiError

Content = dict[str, Any]
OTHER_NAMES: Mapping[str, str] = {
    "n_predict": "max_tokens",
    "n_probs": "logprobs",
    "repeat_penalty": "repetition_penalty",
    "repeat_last_n": "repetition_window",
    "repetition_penalty_range": "repetition_window",
    "dry_penalty_last_n": "dry_window",
    "ban_eos_token": "ignore_eos",
    "grammar_string": "grammar",
    "guided_grammar": "grammar",
    "guided_json": "json_schema",
    "guided_regex": "regex",
    "guided_choice": "choice",
}
"""Their name, and ours."""
WITHOUT_EFFECT = frozenset(
    {
        "cache_prompt", "do_sample", "dynamic_temperature", "dynatemp_high", "dynatemp_low", "id_slot",
        "max_context_length", "n_ctx", "n_keep", "penalize_nl", "slot_id", "timings_per_token",
    }
)  # fmt: skip
"""Fields that say how to compute, or again what others say: they are taken, and change nothing."""
MEANINGS_OF_MINUS_1: Mapping[str, object] = {
    "seed": None,
    "top_k": 0,
    "repetition_window": 0,
    "dry_window": 0,
}
"""-1 is llama.cpp's and vLLM's word for none, all or random."""
NEUTRAL: Mapping[str, float] = {"tfs": 1, "tfs_z": 1, "smoothing_factor": 0}
"""Samplers that are not there, and the value with which they would do nothing."""


def with_our_names(content: Content) -> Content:
    """The fields of a request under our names; those without effect are left out.

    >>> with_our_names({"n_predict": 5, "repeat_last_n": -1, "cache_prompt": True, "tfs_z": 1})
    {'max_tokens': 5, 'repetition_window': 0}

    Raises:
        ApiError: a sampler that is not there.
    """
    named = Content()
    for name, value in content.items():
        ours = OTHER_NAMES.get(name, name)
        if ours != name and (ours in content or ours in named):
            raise ApiError(400, f"{name} is the same as {ours}: give only one.", param=name)
        if name not in WITHOUT_EFFECT:
            named[ours] = value
    for name, neutral in NEUTRAL.items():
        if named.pop(name, neutral) not in (neutral, None):
            raise ApiError(400, f"{name} is not supported: leave it at {neutral}.", param=name)
    for name, meaning in MEANINGS_OF_MINUS_1.items():
        if _is_number(named.get(name), -1):
            named[name] = meaning
    return _without_mirostat(_with_breakers(_without_empty_grammar(named)))


def _without_mirostat(content: Content) -> Content:
    """llama.cpp's clients send mirostat's numbers even where its mode is 0."""
    modes = [content.pop(name) for name in ("mirostat", "mirostat_mode") if name in content]
    if not modes or modes[-1] == 2:
        return content
    if modes[-1]:
        raise ApiError(
            400, "mirostat is 0 or 2 here: version 1 is not supported.", param="mirostat"
        )
    return {
        name: value
        for name, value in content.items()
        if name not in ("mirostat_tau", "mirostat_eta")
    }


def _without_empty_grammar(content: Content) -> Content:
    if content.get("grammar") == "":
        del content["grammar"]
    return content


def _with_breakers(content: Content) -> Content:
    """text-generation-webui's clients send a list as the text of its JSON."""
    value = content.get("dry_sequence_breakers")
    if isinstance(value, str):
        try:
            content["dry_sequence_breakers"] = json.loads(value)
        except (ValueError, RecursionError):
            message = "dry_sequence_breakers has to be a list of texts."
            raise ApiError(400, message, param="dry_sequence_breakers") from None
    return content


def _is_number(value: object, number: int) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == number
