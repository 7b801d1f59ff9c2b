"""Prompts of ids, cancelled streams, log-probabilities and processors, over a session that plays back a script."""

import json
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.runtime.decoding.playback import CONTEXT, EOS, VOCAB, model, session_of

from gpt2xl import GenerationOptions, GPT2Config, Model, RequestError, Tokenizer

GREEDY = GenerationOptions(greedy=True)


@pytest.fixture
def tokenizer(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


# --- ids as prompts


def test_ids_are_a_prompt_as_they_are(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, [3])
    result = made.generate([5, EOS, 288], greedy=True, max_new_tokens=1)
    assert result.prompt_ids == [5, EOS, 288]
    assert made.generate([], greedy=True).prompt_ids == [EOS]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (["a"], r"this list holds 'a': for several prompts use generate_batch\.$"),
        (b"a", r"the prompt is bytes: decode it, b'a'\.decode\(\)"),
        (None, r"a text or a list of token ids, but this one is None \(NoneType\)"),
        (7, "this one is 7"),
        ([1.5], r"this list holds 1\.5\."),
        ([True], r"this list holds True\."),
        ([289], "the prompt holds id 289, but the model's vocabulary is 289"),
        ([-1], "the prompt holds id -1, but the model's vocabulary is 289"),
        ([1] * 17, "the prompt has 17 tokens, but the model's context is 16"),
    ],
)
def test_what_is_no_prompt_is_refused_in_one_line(
    tokenizer: Tokenizer, prompt: Any, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        model(tokenizer, [3]).generate(prompt)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ("abc", r"got one text: write \['abc'\], or use generate"),
        (b"abc", "takes a list of prompts, but got one text"),
        (3, "takes a list of prompts, but got int"),
    ],
)
def test_one_prompt_is_no_batch(tokenizer: Tokenizer, prompts: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        model(tokenizer, [3]).generate_batch(prompts)


# --- cancelling


def test_a_cancelled_stream_ends_and_keeps_its_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Once upon a time")
    stream = model(tokenizer, [*ids, EOS]).stream("a", greedy=True)
    first = next(stream)
    stream.cancel()
    assert list(stream) == []
    result = stream.result()
    assert (result.text, result.new_ids) == (first.text, ids[:1])
    assert result.finish_reason == "cancelled"
    assert result.timings.tokens_per_second is None


def test_a_stream_cancelled_before_it_began_has_no_tokens(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, [3])
    stream = made.stream("a", greedy=True)
    stream.cancel()
    result = stream.result()
    assert (result.text, result.new_ids, result.finish_reason) == ("", [], "cancelled")
    assert result.timings.prompt > 0


def test_cancelling_a_finished_text_changes_nothing(tokenizer: Tokenizer) -> None:
    stream = model(tokenizer, [3, EOS]).stream("a", greedy=True)
    before = stream.result()
    stream.cancel()
    assert stream.result() == before
    assert before.finish_reason == "stop"


def test_another_thread_may_cancel(tokenizer: Tokenizer) -> None:
    stream = model(tokenizer, [3]).stream("a", greedy=True)
    next(stream)
    thread = Thread(target=stream.cancel)
    thread.start()
    thread.join()
    assert stream.result().finish_reason == "cancelled"


def test_after_a_break_nothing_is_computed_until_it_is_asked_for(tokenizer: Tokenizer) -> None:
    session = session_of([3])
    config = GPT2Config(VOCAB, n_positions=CONTEXT, n_embd=8, n_layer=1, n_head=1)
    stream = Model(config, tokenizer, session).stream([1], greedy=True, max_new_tokens=5)
    for _ in stream:
        break
    assert len(session.fed) == 1
    assert stream.ids == [3]
    assert len(stream.result().new_ids) == 5


def test_a_stream_that_failed_has_no_result(tokenizer: Tokenizer) -> None:
    def broken(ids: object, logits: object) -> Any:
        raise KeyError("mine")

    stream = model(tokenizer, [3]).stream("a", processors=(broken,))
    with pytest.raises(KeyError, match="mine"):
        next(stream)
    for _ in range(2):
        with pytest.raises(RequestError, match="no result: an error ended it"):
            stream.result()
        stream.cancel()  # does not make it a cancelled one


def test_a_character_that_a_cancellation_cuts_is_replaced(tokenizer: Tokenizer) -> None:
    first = tokenizer.encode("é")[0]
    assert tokenizer.decode([first]) == "\ufffd"
    stream = model(tokenizer, [first, first]).stream("a", greedy=True)
    assert next(stream).text == ""
    stream.cancel()
    assert [stream.result().text for _ in range(2)] == ["\ufffd", "\ufffd"]


# --- log-probabilities and processors


def test_log_probabilities_are_carried_to_pieces_and_the_result(tokenizer: Tokenizer) -> None:
    stream = model(tokenizer, [70, EOS]).stream("a", greedy=True, logprobs=2)
    pieces = list(stream)
    result = stream.result()
    assert result.logprobs is not None
    assert [piece.logprobs for piece in pieces[:1]] == result.logprobs  # one for each of new_ids
    assert result.logprobs[0].top[0] == (70, result.logprobs[0].token)
    assert len(result.logprobs[0].top) == 2
    read = json.loads(json.dumps(result.to_dict()))
    assert read["logprobs"][0]["token"] == result.logprobs[0].token


def test_nothing_is_reported_unless_asked_for(tokenizer: Tokenizer) -> None:
    result = model(tokenizer, [70, EOS]).generate("a", greedy=True)
    assert result.logprobs is None
    assert "logprobs" not in result.to_dict()


def test_processors_work_on_a_text(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, [5])
    assert made.generate([5], greedy=True, max_new_tokens=3).new_ids == [5, 5, 5]
    again = made.generate([5], greedy=True, max_new_tokens=3, no_repeat_ngram_size=1)
    assert again.new_ids == [0, 1, 2]
    penalized = made.generate([5], greedy=True, max_new_tokens=2, repetition_penalty=1e9)
    assert penalized.new_ids == [5, 5]  # 9 / 1e9 is still the largest: the others are 0


def test_a_sampler_of_ones_own_chooses(tokenizer: Tokenizer) -> None:
    result = model(tokenizer, [5]).generate([1], sampler=lambda logits: 42, max_new_tokens=2)
    assert (result.new_ids, result.seed) == ([42, 42], None)


# --- reprs


def test_reprs_help(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, [3])
    assert repr(made) == "<Model: 1 layer, 8 wide, context 16, vocabulary 289, on cpu>"
    assert repr(tokenizer) == "<Tokenizer: 287 ids, 1 of them added tokens>"
    stream = made.stream("a", greedy=True, max_new_tokens=2)
    assert repr(stream) == "<Stream: 1 prompt tokens, 0 new, not finished>"
    next(stream)
    stream.cancel()
    assert repr(stream) == "<Stream: 1 prompt tokens, 1 new, cancelled>"
    assert repr(made.stream("a", greedy=True)).endswith("not finished>")
