"""The range of each option: values at its edge are taken, those beyond it are refused by name."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from gpt2xl import GenerationOptions, RequestError
from gpt2xl.options.checks import CHECKS

NAN, INF = float("nan"), float("inf")
FLAGS = ("greedy", "top_k_keeps_ties", "renormalize_logits", "ignore_eos", "keep_stop_string", "parse_special",
         "token_healing", "prompt_lookup", "processed_logprobs")  # fmt: skip
NEEDS: dict[str, dict[str, Any]] = {
    "overflow_keep": {"overflow": "slide"},
    "overflow_window": {"overflow": "slide"},
    "num_return_sequences": {"num_beams": 4},
    "num_beam_groups": {"num_beams": 4, "diversity_penalty": 1.0, "greedy": True},
    "diversity_penalty": {"num_beams": 4, "num_beam_groups": 2, "greedy": True},
    "early_stopping": {"num_beams": 4},
    "processed_logprobs": {"logprobs": 0},
}
"""What an option goes together with."""
RANGES: dict[str, tuple[list[Any], list[Any]]] = {
    "max_new_tokens": ([None, 1], [0, 1.5, "1"]),
    "max_length": ([None, 1], [0, -1]),
    "min_new_tokens": ([0, 9], [-1, None]),
    "min_length": ([0, 9], [-1]),
    "end_at_sentence": ([True, False], [1.5, "yes"]),
    "max_time": ([None, 0, 1.5], [-1, NAN, "1"]),
    "do_sample": ([None, True, False], [1, "yes"]),
    "seed": ([None, 0, 2**64], [-1, 1.5]),
    "temperature": ([0, 1e-3, 5], [-1, NAN, INF, None, 10**400]),
    "dynatemp_range": ([0, 0.5], [-0.5, NAN]),
    "dynatemp_exponent": ([0.1, 2], [0, -1]),
    "top_k": ([0, 10**6], [-1, 2.5, "40"]),
    "top_p": ([1e-6, 1], [0, 1.01, -1, NAN]),
    "min_p": ([0, 1], [-0.1, 1.1]),
    "top_h": ([None, 0.1, 1], [0, 1.5]),
    "typical_p": ([0.1, 1], [0, 1.5]),
    "epsilon_cutoff": ([0, 0.9], [1, -0.1]),
    "eta_cutoff": ([0, 0.9], [1, -0.1]),
    "top_n_sigma": ([0, 2.5], [-1, INF]),
    "xtc_probability": ([0, 1], [-0.1, 1.1]),
    "xtc_threshold": ([0, 1], [-0.1, 1.1]),
    "mirostat_tau": ([None, 0.1], [0, -1]),
    "mirostat_eta": ([0.1], [0, -1]),
    "sampler": ([None, int], [1, "greedy"]),
    "sampler_order": (
        ["llama.cpp", ("top_k", "temperature"), ["temperature"]],
        ["vllm", ("topk",), ("top_k", "top_k"), 3, [["top_k"]], None],
    ),
    "repetition_penalty": ([0.5, 1.5], [0, -1, INF]),
    "repetition_window": ([0, 64], [-1]),
    "presence_penalty": ([-2, 0, 2.5], [NAN, "1"]),
    "frequency_penalty": ([-2, 0, 2.5], [INF]),
    "no_repeat_ngram_size": ([0, 3], [-2]),
    "dry_multiplier": ([0, 0.8], [-1]),
    "dry_base": ([1, 1.75], [0.9]),
    "dry_allowed_length": ([0, 2], [-1]),
    "dry_sequence_breakers": ([(), ["\n"], "a"], [[""], [1], None]),
    "dry_window": ([0, 5], [-1]),
    "repetition_detection": ([0, 2], [1, -1, 2.5]),
    "bad_words_ids": ([(), [[1], [2, 3]]], [[[]], [1], "ab", [[-1]]]),
    "sequence_bias": ([None, {(1,): -2.0}, [[[1, 2], 3.0]]], [3, {(): 1.0}, [[1, 2]], {(1,): NAN}]),
    "logit_bias": ([None, {1: -2.0}], [[1], {-1: 1.0}, {1: INF}, {"a": 1}]),
    "suppress_tokens": ([(), [1, 2], {3}, np.array([4])], [5, [-1], "ab", [1.5]]),
    "begin_suppress_tokens": ([(), [1, 2]], [5, [-1]]),
    "allowed_token_ids": ([(), range(3)], [5, [-1]]),
    "forced_eos_token_id": ([None, 0], [-1, [1]]),
    "exponential_decay_length_penalty": ([None, (0, 1.5), [3, 1.01]], [(1,), (-1, 2), (1, 0), 5]),
    "processors": ([(), (abs,)], [int, (1,), None]),
    "grammar": ([None], ["[a-z]+", 1]),
    "eos_token_id": ([None, 0, [1, 2], (), np.int64(3)], [-1, [-1], "a", 1.5]),
    "stop_token_ids": ([(), [7]], [7, [-1]]),
    "stop_strings": ([(), "a", ["a", "b"]], ["", ["a", ""], [1], None]),
    "stopping": ([None, bool], [1]),
    "overflow": (["stop", "slide"], ["roll", None]),
    "overflow_keep": ([0, 4], [-1]),
    "overflow_window": ([None, 1], [0]),
    "guidance_scale": ([0.5, 1, 2.5], [0, -1]),
    "num_return_sequences": ([1, 4], [0, 1.5]),
    "num_beams": ([1, 4], [0, -1]),
    "num_beam_groups": ([2, 4], [0]),
    "diversity_penalty": ([0.5], [-1, NAN]),
    "length_penalty": ([-2, 0, 2.5], [NAN]),
    "early_stopping": ([True, False, "never"], ["always", 1, None]),
    "penalty_alpha": ([0, 0.6, 1], [-0.1, 1.5]),
    "logprobs": ([None, 0, 5], [-1, 1.5]),
    "prompt_logprobs": ([None, 0, 5], [-1]),
}
"""Of each option: values that are taken, and values that are refused."""


RANGES |= {name: ([True, False], [1, "yes", None]) for name in FLAGS}


def test_every_option_has_a_range() -> None:
    names = {field.name for field in fields(GenerationOptions)}
    assert names - {"negative_prompt"} == CHECKS.keys() == RANGES.keys()


@pytest.mark.parametrize("name", RANGES)
def test_values_in_the_range_are_taken(name: str) -> None:
    for value in RANGES[name][0]:
        options = GenerationOptions(**NEEDS.get(name, {}) | {name: value})
        kept = getattr(options, name)
        if isinstance(value, int | float | str | bool) and not isinstance(kept, tuple):
            assert kept == value
        assert GenerationOptions(**NEEDS.get(name, {}) | {name: kept}) == options


@pytest.mark.parametrize("name", RANGES)
def test_values_out_of_the_range_are_refused_by_name(name: str) -> None:
    for value in RANGES[name][1]:
        with pytest.raises(RequestError, match=rf"^{name}\b.*(has to|holds)"):
            GenerationOptions(**NEEDS.get(name, {}) | {name: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": int, "greedy": True}, "and a sampler exclude each other"),
        ({"sampler": int, "do_sample": False}, "and a sampler exclude each other"),
        ({"sampler": int, "temperature": 0}, "and a sampler exclude each other"),
        ({"sampler": int, "mirostat_tau": 3}, "mirostat_tau and a sampler exclude each other"),
        ({"greedy": True, "do_sample": True}, "greedy and do_sample=True exclude each other"),
        ({"negative_prompt": "a"}, "negative_prompt needs a guidance_scale above 1"),
        ({"processed_logprobs": True}, "processed_logprobs needs logprobs"),
        ({"overflow_keep": 1}, "need overflow 'slide'"),
        ({"overflow_window": 5}, "need overflow 'slide'"),
        ({"num_beam_groups": 2}, "are options of beam search: give num_beams as well"),
        ({"early_stopping": True}, "are options of beam search: give num_beams as well"),
        ({"num_beams": 3, "num_beam_groups": 2}, "multiple of num_beam_groups, but they are 3 and 2"),
        ({"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1}, "groups of beams do not sample"),
        ({"num_beams": 4, "num_beam_groups": 2, "greedy": True}, "need each other: give both"),
        ({"num_beams": 4, "diversity_penalty": 1.0, "greedy": True}, "need each other: give both"),
        ({"num_beams": 2, "penalty_alpha": 0.5}, "and num_beams exclude each other"),
        ({"penalty_alpha": 0.5, "top_k": 0}, "needs top_k above 0"),
        ({"num_beams": 2, "num_return_sequences": 3}, "with num_beams 2 gives 2 at most"),
        ({"greedy": True, "num_return_sequences": 2}, "greedy texts are all alike"),
    ],
    ids=str,
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        GenerationOptions(**options)
