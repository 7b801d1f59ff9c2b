"""A real bundle, from prompt to text."""

import gc
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest

from gpt2xl import GenerationOptions, Model, RequestError, load
from gpt2xl.decoding.logprobs import log_softmax


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


def test_options_as_an_object_or_as_keywords(model: Model) -> None:
    options = GenerationOptions(seed=3, max_new_tokens=6)
    wanted = model.generate("Once", seed=3, max_new_tokens=6).new_ids
    assert model.generate("Once", options).new_ids == wanted
    assert model.generate("Once", options, seed=4).new_ids != wanted
    with pytest.raises(TypeError, match="no option 'topk'; did you mean 'top_k'"):
        model.generate("Once", topk=4)  # type: ignore[call-arg]


def test_log_probabilities_are_the_models_own(model: Model) -> None:
    """Of its raw logits: temperature, top_k and processors do not matter."""
    ids = model.prompt_ids("Once")
    logits = model.session.forward(np.array([ids]), model.session.new_cache())[0, -1]
    expected = log_softmax(logits)
    options = GenerationOptions(seed=1, max_new_tokens=1)
    result = model.generate("Once", options, logprobs=3, temperature=3, repetition_penalty=2)
    assert result.logprobs is not None
    (found,) = result.logprobs
    assert found.token == pytest.approx(expected[result.new_ids[0]], abs=1e-5)
    assert [i for i, _ in found.top] == (-expected).argsort(kind="stable")[:3].tolist()
    plain = model.generate("Once", options)
    assert plain.new_ids == model.generate("Once", options, logprobs=3).new_ids


def test_cancelling_during_a_step_ends_it(make_bundle: Callable[..., Path]) -> None:
    model = load(make_bundle({"n_embd": 256, "n_layer": 6, "n_positions": 4096}), threads=1)
    stream = model.stream([5] * 3000, greedy=True)
    Timer(0.05, stream.cancel).start()
    start = time.perf_counter()
    result = stream.result()
    cancelled_after = time.perf_counter() - start
    assert result.finish_reason == "cancelled"
    start = time.perf_counter()
    model.generate([5] * 3000, greedy=True, max_new_tokens=1)
    assert cancelled_after < time.perf_counter() - start
    again = model.generate("Once", greedy=True, max_new_tokens=9).new_ids
    model.clear_cache()
    assert model.generate("Once", greedy=True, max_new_tokens=9).new_ids == again


def test_a_bundle_is_named_in_the_repr(bundle: Path) -> None:
    assert repr(load(bundle)) == (
        "<Model 'tiny': 2 layers, 32 wide, context 96, vocabulary 289, on cpu>"
    )


def test_a_dropped_model_is_freed_at_once(make_bundle: Callable[..., Path]) -> None:
    model = load(make_bundle())
    model.generate("Once", max_new_tokens=2, prompt_lookup=True)
    freed = weakref.ref(model)
    gc.disable()  # no reference cycle keeps it until a collection
    try:
        del model
        assert freed() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("rows", [0, 2.5, "4", 10**30])
def test_rows_out_of_range_are_refused(model: Model, rows: Any) -> None:
    with pytest.raises(RequestError, match="rows has to be"):
        list(model.generate_batch(["Once"], rows=rows))


def test_a_draft_is_a_loaded_model(model: Model) -> None:
    with pytest.raises(RequestError, match=r"draft has to be a loaded model.*but is 'demo'"):
        model.generate("Once", draft="demo")  # type: ignore[arg-type]
