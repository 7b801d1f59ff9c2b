"""The options of a text as keyword arguments."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from difflib import get_close_matches
from typing import Any, Literal, TypedDict, TypeVar

from gpt2xl.constraints.grammar import Grammar
from gpt2xl.decoding.samplers import Sampler
from gpt2xl.options.generation import GenerationOptions, StoppingFunction
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.startup.options import LoadOptions
from gpt2xl.text.prompts import Prompt

REPLACED: Mapping[str, Mapping[str, bool | None]] = {
    "greedy": {"do_sample": None},
    "do_sample": {"greedy": False},
}
"""Two names of one option: giving one takes back the other."""
Options = TypeVar("Options", GenerationOptions, LoadOptions)


class GenerationKeywords(TypedDict, total=False):
    """The fields of `GenerationOptions` as keyword arguments."""

    max_new_tokens: int | None
    max_length: int | None
    end_at_sentence: bool
    min_new_tokens: int
    min_length: int
    max_time: float | None
    greedy: bool
    do_sample: bool | None
    seed: int | None
    temperature: float
    dynatemp_range: float
    dynatemp_exponent: float
    top_k: int
    top_k_keeps_ties: bool
    top_p: float
    min_p: float
    top_h: float | None
    typical_p: float
    epsilon_cutoff: float
    eta_cutoff: float
    top_n_sigma: float
    xtc_probability: float
    xtc_threshold: float
    mirostat_tau: float | None
    mirostat_eta: float
    sampler: Sampler | None
    sampler_order: str | tuple[str, ...]
    repetition_penalty: float
    repetition_window: int
    presence_penalty: float
    frequency_penalty: float
    no_repeat_ngram_size: int
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_sequence_breakers: tuple[str, ...]
    dry_window: int
    repetition_detection: int
    bad_words_ids: tuple[tuple[int, ...], ...]
    sequence_bias: Mapping[tuple[int, ...], float] | None
    logit_bias: Mapping[int, float] | None
    suppress_tokens: tuple[int, ...]
    begin_suppress_tokens: tuple[int, ...]
    allowed_token_ids: tuple[int, ...]
    forced_eos_token_id: int | None
    exponential_decay_length_penalty: tuple[int, float] | None
    renormalize_logits: bool
    processors: tuple[LogitsProcessor, ...]
    grammar: Grammar | None
    eos_token_id: int | tuple[int, ...] | None
    ignore_eos: bool
    stop_token_ids: tuple[int, ...]
    stop_strings: tuple[str, ...]
    keep_stop_string: bool
    stopping: StoppingFunction | None
    overflow: Literal["stop", "slide"]
    overflow_keep: int
    overflow_window: int | None
    parse_special: bool
    token_healing: bool
    guidance_scale: float
    negative_prompt: Prompt | None
    prompt_lookup: bool
    num_return_sequences: int
    num_beams: int
    num_beam_groups: int
    diversity_penalty: float
    length_penalty: float
    early_stopping: bool | Literal["never"]
    penalty_alpha: float
    logprobs: int | None
    prompt_logprobs: int | None
    processed_logprobs: bool


def updated(options: Options, keywords: Mapping[str, Any]) -> Options:
    """``options`` with the fields that ``keywords`` name.

    >>> updated(GenerationOptions(do_sample=True), {"greedy": True}).do_sample

    >>> updated(GenerationOptions(seed=1), {"topk": 3})
    Traceback (most recent call last):
    TypeError: there is no option 'topk'; did you mean 'top_k'?

    Raises:
        TypeError: a keyword that is no field.
        RequestError: a value out of range.
    """
    if not isinstance(options, GenerationOptions | LoadOptions):
        raise TypeError(f"options have to be GenerationOptions or LoadOptions, not {options!r}.")
    names = [field.name for field in fields(options)]
    for name in keywords:
        if name not in names:
            raise TypeError(f"there is no option '{name}'; {_closest(name, names)}")
    replaced = [REPLACED[name] for name in keywords if name in REPLACED]
    return replace(options, **dict(ChainMap(dict(keywords), *map(dict, replaced))))


def _closest(name: str, names: Sequence[str]) -> str:
    """The name most like it; one that it begins, or is a part of, before others."""
    longer = [known for known in names if name and name in known]
    close = sorted(longer, key=lambda known: (not known.startswith(name), len(known)))
    close = close or get_close_matches(name, names, 1, 0.5)
    return f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(names)}."
