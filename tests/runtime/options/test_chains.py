"""Chains: which processors run, in which order, and how many logits they need."""

from typing import Any

import numpy as np
import pytest
from tests.runtime.chains import chain_of, facts_of

from gpt2xl import GenerationOptions, RequestError
from gpt2xl.decoding.samplers import greedy
from gpt2xl.options.chains import BUILDERS, active_processors, search_processors
from gpt2xl.options.orders import LLAMA_CPP, TRANSFORMERS

ALL: dict[str, Any] = {
    "guidance_scale": 1.5, "sequence_bias": {(1,): 1.0}, "repetition_penalty": 1.1, "no_repeat_ngram_size": 3,
    "bad_words_ids": [[1]], "min_length": 2, "min_new_tokens": 2, "forced_eos_token_id": 1,
    "exponential_decay_length_penalty": (3, 1.1), "suppress_tokens": [1], "begin_suppress_tokens": [1],
    "presence_penalty": 0.1, "frequency_penalty": 0.1, "dry_multiplier": 0.8, "logit_bias": {1: 1.0},
    "allowed_token_ids": [1], "processors": (lambda ids, logits: logits,), "temperature": 0.7, "top_h": 0.5,
    "top_k": 9, "top_p": 0.9, "min_p": 0.1, "typical_p": 0.9, "epsilon_cutoff": 0.1, "eta_cutoff": 0.1,
    "top_n_sigma": 1.0, "xtc_probability": 0.5, "renormalize_logits": True,
}  # fmt: skip
FACTS = facts_of(1, eos_token_ids=frozenset({1}), suppressed=(1,))


def names_of(**options: Any) -> list[str]:
    return active_processors(GenerationOptions(**options), FACTS)


def test_every_processor_has_a_place_in_each_order() -> None:
    assert BUILDERS.keys() == set(TRANSFORMERS) == set(LLAMA_CPP)
    assert len(TRANSFORMERS) == len(LLAMA_CPP) == len(BUILDERS)


def test_options_run_in_the_order_of_transformers() -> None:
    wanted = [name for name in TRANSFORMERS if name in ALL]
    assert names_of(**ALL) == wanted
    assert wanted.index("repetition_penalty") < wanted.index("no_repeat_ngram_size")
    assert wanted[wanted.index("temperature") :][:4] == ["temperature", "top_h", "top_k", "top_p"]


def test_options_run_in_the_order_of_llama_cpp() -> None:
    names = names_of(**ALL, sampler_order="llama.cpp")
    assert sorted(names) == sorted(ALL)
    tail = ["top_n_sigma", "top_k", "typical_p", "top_p", "min_p", "xtc_probability", "temperature"]
    assert names[-8:-1] == tail


def test_an_order_of_names() -> None:
    order: tuple[str, ...] = ("suppress_tokens", "top_p", "temperature")
    for temperature in (0.5, 1.0):
        names = names_of(top_p=0.9, top_k=0, temperature=temperature, sampler_order=order)
        assert names == list(order)
    order = ("top_k", "suppress_tokens")
    assert names_of(top_k=3, temperature=1.0, sampler_order=order) == list(order)


def test_the_order_changes_what_is_left() -> None:
    """By hand: probabilities 0.6, 0.3, 0.1; at temperature 2 they are 0.47, 0.33, 0.19."""
    logits = np.log(np.array([0.6, 0.3, 0.1], np.float32))
    left = []
    for order in ("transformers", "llama.cpp"):
        options = GenerationOptions(top_p=0.85, temperature=2.0, top_k=0, sampler_order=order)
        left.append(np.flatnonzero(chain_of(options, 1).process([0], logits) > -np.inf).tolist())
    assert left == [[0, 1, 2], [0, 1]]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"sampler_order": ("top_k",)}, "temperature"),
        ({"sampler_order": ("temperature",)}, "top_k"),
        ({"sampler_order": ("temperature", "top_k"), "top_p": 0.9}, "top_p"),
        ({"sampler_order": (), "greedy": True, "repetition_penalty": 2}, "repetition_penalty"),
    ],
    ids=str,
)
def test_an_order_that_leaves_out_a_processor_is_refused(
    options: dict[str, Any], name: str
) -> None:
    with pytest.raises(RequestError, match=f"sampler_order leaves out {name}, which is in force"):
        chain_of(GenerationOptions(**options), 1)


def test_what_does_nothing_may_be_left_out() -> None:
    assert chain_of(GenerationOptions(greedy=True, sampler_order=())).processors == ()
    assert chain_of(GenerationOptions(temperature=1, top_k=0, sampler_order=()), 1).processors == ()


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        ({}, 40),
        ({"top_k": 7, "top_p": 0.9, "min_p": 0.1}, 7),
        ({"sampler_order": "llama.cpp"}, 40),
        ({"sampler_order": ("top_k", "temperature")}, 40),
        ({"sampler_order": ("temperature", "top_k")}, 40),
        ({"greedy": True}, 1),
        ({"do_sample": False}, 1),
        ({"greedy": True, "top_p": 0.5}, 1),
        ({"max_new_tokens": 3, "stop_strings": ("a",), "seed": 1}, 40),
        ({"top_k": 0}, 0),
        ({"top_k_keeps_ties": True}, 0),
        ({"top_h": 0.5}, 0),
        ({"dynatemp_range": 0.5}, 0),
        ({"mirostat_tau": 3.0}, 0),
        ({"top_n_sigma": 1.0, "sampler_order": "llama.cpp"}, 0),
        ({"top_p": 0.9, "sampler_order": ("top_p", "top_k", "temperature")}, 0),
        ({"logit_bias": {1: 1.0}}, 0),
        ({"greedy": True, "suppress_tokens": (1,)}, 1),  # facts name what is suppressed, none here
        ({"greedy": True, "frequency_penalty": 1.0}, 0),
        ({"sampler": greedy}, 0),
    ],
    ids=lambda value: str(sorted(value)) if isinstance(value, dict) else None,
)
def test_plain_sampling_needs_top_k_logits_and_greedy_one(
    options: dict[str, Any], needed: int
) -> None:
    chain = chain_of(GenerationOptions(**options), None if "greedy" in options else 1)
    assert chain.needed_logits == needed


def test_top_k_runs_before_a_plain_temperature_only() -> None:
    assert names_of() == ["suppress_tokens", "top_k", "temperature"]
    assert names_of(top_p=0.9)[1:] == ["top_k", "temperature", "top_p"]
    assert names_of(dynatemp_range=0.5)[1:] == ["temperature", "top_k"]
    assert names_of(top_k_keeps_ties=True)[1:] == ["temperature", "top_k"]


def test_greedy_and_mirostat_leave_out_what_shapes_a_draw() -> None:
    assert names_of(greedy=True, top_p=0.5, repetition_penalty=2) == [
        "repetition_penalty",
        "suppress_tokens",
    ]
    assert names_of(mirostat_tau=3.0, top_p=0.5) == ["suppress_tokens", "temperature"]


def test_beams_are_shaped_only_where_they_are_drawn() -> None:
    options = {"num_beams": 2, "top_p": 0.9, "repetition_penalty": 2.0}
    always, shapes = search_processors(GenerationOptions(**options), facts_of(1))  # type: ignore[arg-type]
    assert (len(always), len(shapes)) == (1, 3)
    greedy_options = GenerationOptions(**options, greedy=True)  # type: ignore[arg-type]
    always, shapes = search_processors(greedy_options, facts_of())
    assert (len(always), len(shapes)) == (1, 0)


def test_a_draft_model_goes_without_what_cannot_be_copied() -> None:
    options = GenerationOptions(processors=(lambda ids, logits: logits,), repetition_penalty=2.0)
    chain = chain_of(options, 1)
    assert chain.draft is not None
    assert len(chain.draft.processors) == len(chain.processors) - 1
    assert chain_of(GenerationOptions(repetition_penalty=2.0), 1).draft is None
