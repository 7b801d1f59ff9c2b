"""Options: validated in one place, given as an object or as keywords."""

from dataclasses import FrozenInstanceError, fields
from typing import Any

import numpy as np
import pytest

from gpt2xl import GenerationOptions, LoadOptions, RequestError
from gpt2xl.options.keywords import GenerationKeywords, updated
from gpt2xl.startup.options import LoadKeywords


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens has to be >= 1, but is 0."),
        ({"max_new_tokens": 1.5}, "max_new_tokens has to be an integer >= 1, but is 1.5."),
        ({"top_k": -1}, r"top_k has to be >= 0 \(0 keeps the whole vocabulary\), but is -1."),
        ({"top_k": "40"}, "top_k has to be an integer >= 0"),
        ({"temperature": -1}, "temperature has to be a number >= 0 .*, but is -1"),
        ({"temperature": float("nan")}, "temperature .*, but is nan"),
        ({"temperature": float("inf")}, "temperature .*, but is inf"),
        ({"temperature": float("-inf")}, "temperature .*, but is -inf"),
        ({"temperature": None}, "temperature .*, but is None"),
        ({"seed": -1}, "seed has to be >= 0, but is -1"),
        ({"repetition_penalty": 0}, "repetition_penalty has to be a number > 0 .*, but is 0"),
        ({"no_repeat_ngram_size": -2}, "no_repeat_ngram_size has to be >= 0"),
        ({"logprobs": -1}, "logprobs has to be >= 0"),
        ({"temperature": 10**400}, "temperature has to be a number"),
        ({"processors": int}, "processors has to be a tuple of functions"),
        ({"processors": (1,)}, "processors has to be a tuple of functions"),
        ({"sampler": "x"}, "sampler has to be a function of logits, but is 'x'"),
        ({"sampler": int, "greedy": True}, "a sampler exclude each other: give only one"),
        ({"sampler": int, "temperature": 0}, "a sampler exclude each other: give only one"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        GenerationOptions(**options)
    with pytest.raises(ValueError, match=message):
        updated(GenerationOptions(), options)


def test_keywords_replace_fields() -> None:
    options = updated(GenerationOptions(seed=1, top_k=3), {"seed": 2})
    assert (options.seed, options.top_k) == (2, 3)
    assert updated(LoadOptions(threads=2), {"spinning": False}) == LoadOptions(
        threads=2, spinning=False
    )


@pytest.mark.parametrize(
    ("options", "keyword", "message"),
    [
        (GenerationOptions(), "topk", "there is no option 'topk'; did you mean 'top_k'"),
        (
            GenerationOptions(),
            "zzz",
            "there is no option 'zzz'; there are: max_new_tokens, max_length, ",
        ),
        (LoadOptions(), "thread", "there is no option 'thread'; did you mean 'threads'"),
    ],
)
def test_a_wrong_keyword_is_named(options: Any, keyword: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        updated(options, {keyword: 1})


def test_keywords_are_the_fields() -> None:
    assert [field.name for field in fields(GenerationOptions)] == [
        *GenerationKeywords.__annotations__
    ]
    assert [field.name for field in fields(LoadOptions)] == [*LoadKeywords.__annotations__]


def test_options_are_frozen_and_keyword_only() -> None:
    options: Any = GenerationOptions()
    with pytest.raises(FrozenInstanceError):
        options.seed = 3
    with pytest.raises(TypeError):
        GenerationOptions(5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("options", "draws"),
    [
        (GenerationOptions(), True),
        (GenerationOptions(greedy=True), False),
        (GenerationOptions(temperature=0), False),
        (GenerationOptions(sampler=int), False),
    ],
)
def test_a_seed_has_an_effect_where_ids_are_drawn(options: GenerationOptions, draws: bool) -> None:
    assert options.draws == draws


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": -1}, r"threads has to be >= 0 \(0: as onnxruntime chooses\), but is -1"),
        ({"threads": 1.5}, "threads has to be an integer >= 0 .*, but is 1.5"),
        ({"threads": "4"}, "threads has to be an integer >= 0 .*, but is '4'"),
        ({"threads": 2000}, "threads has to be <= 1024, but is 2000"),
        ({"spinning": "no"}, "spinning has to be True or False, but is 'no'"),
        ({"provider": "tpu"}, "provider has to be one of cpu, cuda, auto"),
    ],
)
def test_a_load_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        LoadOptions(**options)


def test_integers_of_numpy_become_those_of_python() -> None:
    options = GenerationOptions(
        seed=np.int64(3),  # type: ignore[arg-type]  # what users have
        max_new_tokens=np.uint8(200),  # type: ignore[arg-type]
        top_k=np.int8(40),  # type: ignore[arg-type]
    )
    assert {type(v) for v in (options.seed, options.max_new_tokens, options.top_k)} == {int}


@pytest.mark.parametrize("options", [{}, 0, "greedy"])
def test_what_is_no_options_object_is_refused(options: Any) -> None:
    with pytest.raises(TypeError, match="options have to be GenerationOptions or LoadOptions"):
        updated(options, {})
