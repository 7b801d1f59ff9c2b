"""A real bundle, from prompt to text; and the examples in the docstrings."""

import doctest
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path

import pytest

import gpt2xl
from gpt2xl import Model, load

MODULES = [f"gpt2xl.{module.name}" for module in pkgutil.iter_modules(gpt2xl.__path__)]


@pytest.fixture(scope="module")
def model(make_bundle: Callable[..., Path]) -> Model:
    """Every id it can draw is one of the tokenizer's."""
    return load(make_bundle({"vocab_size": 287, "tie_word_embeddings": False}))


def test_pieces_join_to_the_text_and_ids_decode_to_it(model: Model) -> None:
    stream = model.stream("Once upon a time", seed=1, temperature=2)
    pieces = list(stream)
    result = stream.result()
    assert "".join(piece.text for piece in pieces) == result.text
    assert model.tokenizer.decode(result.new_ids) == result.text
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert result.finish_reason == pieces[-1].finish_reason
    assert model.tokenizer.decode(result.prompt_ids) == "Once upon a time"


def test_a_seed_gives_its_text_again_and_another_seed_another(model: Model) -> None:
    texts = [model.generate("Once", seed=seed).text for seed in (5, 5, 6)]
    assert texts[0] == texts[1] != texts[2]


def test_the_seed_that_a_result_names_gives_it_again(model: Model) -> None:
    first = model.generate("Once")
    again = model.generate("Once", seed=first.seed)
    assert again.new_ids == first.new_ids


def test_a_greedy_text_is_the_same_every_time_whatever_the_seed(model: Model) -> None:
    texts = {model.generate("Once", greedy=True, seed=seed).text for seed in (None, 1, 2)} | {
        model.generate("Once", top_k=1).text
    }
    assert len(texts) == 1


def test_two_streams_of_a_model_do_not_disturb_each_other(model: Model) -> None:
    alone = [model.generate(prompt, greedy=True).new_ids for prompt in ("Once", "the king")]
    streams = [model.stream(prompt, greedy=True) for prompt in ("Once", "the king")]
    for _ in zip(*streams, strict=False):
        pass
    assert [stream.result().new_ids for stream in streams] == alone


def test_timings_add_up(model: Model) -> None:
    timings = model.generate("Once", greedy=True, max_new_tokens=5).timings
    assert timings.prompt > 0
    assert timings.tokens_per_second == pytest.approx(4 / timings.decode)


def test_threads_change_nothing(make_bundle: Callable[..., Path], model: Model) -> None:
    single = load(make_bundle({"vocab_size": 287, "tie_word_embeddings": False}), threads=1)
    wanted = model.generate("Once", greedy=True, max_new_tokens=50).new_ids
    assert single.generate("Once", greedy=True, max_new_tokens=50).new_ids == wanted


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0
