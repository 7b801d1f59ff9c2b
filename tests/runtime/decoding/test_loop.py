"""The decode loop and the front, over a session that plays back a script."""

import json
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from tests.runtime.fakes import FakeSession, LogitsOf, scripted

from gpt2xl import GenerationOptions, GPT2Config, Model, RequestError, Tokenizer
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.loop import Request, generate_tokens

VOCAB, CONTEXT, EOS = 289, 16, 286  # the tokenizer has 287 ids
GREEDY = GenerationOptions(greedy=True)


class PlaysBack:
    """The i-th token after the first prompt that is fed is ``script[i]``."""

    def __init__(self, script: Sequence[int]) -> None:
        self._script = script
        self._logits_of: LogitsOf | None = None

    def __call__(self, ids: Sequence[int]) -> Any:
        self._logits_of = self._logits_of or scripted(self._script, VOCAB, len(ids))
        return self._logits_of(ids)


def session_of(script: Sequence[int]) -> FakeSession:
    return FakeSession(PlaysBack(script), n_positions=CONTEXT)


def run(
    script: Sequence[int], prompt: list[int], max_new_tokens: int, eos: set[int]
) -> tuple[list[tuple[int, str | None]], list[list[int]]]:
    """(id, finish_reason) of each token, and what was fed."""
    session = session_of(script)
    request = Request(prompt, GREEDY.chain(None), max_new_tokens)
    tokens: list[tuple[int, str | None]] = [
        (token.id, token.finish_reason) for token in generate_tokens(Context(session), request, eos)
    ]
    return tokens, [row for (row,) in session.fed]


@pytest.fixture
def tokenizer(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


def model(tokenizer: Tokenizer, script: Sequence[int], **config: Any) -> Model:
    """A model that generates ``script``."""
    values = {"bos_token_id": EOS, "eos_token_id": EOS} | config
    made = GPT2Config(VOCAB, n_positions=CONTEXT, n_embd=8, n_layer=1, n_head=1, **values)
    return Model(made, tokenizer, session_of(script))


def test_the_prompt_is_fed_whole_then_every_token_but_the_last() -> None:
    tokens, fed = run([5, 6, 7], [1, 2], 3, set())
    assert tokens == [(5, None), (6, None), (7, "length")]
    assert fed == [[1, 2], [5], [6]]


def test_one_token_needs_one_step() -> None:
    assert run([5], [1], 1, {9}) == ([(5, "length")], [[1]])


def test_an_end_of_text_stops_and_is_not_fed_back() -> None:
    tokens, fed = run([5, 9, 7], [1], 10, {8, 9})
    assert tokens == [(5, None), (9, "stop")]
    assert fed == [[1], [5]]


def test_end_of_text_as_the_last_allowed_token_counts_as_stop() -> None:
    assert run([5, 9], [1], 2, {9})[0][-1] == (9, "stop")


def test_nothing_runs_before_the_first_token_is_asked_for() -> None:
    session = session_of([1])
    tokens = generate_tokens(Context(session), Request([1], GREEDY.chain(None), 2), set())
    assert session.fed == []
    next(tokens)
    assert session.fed == [[[1]]]


@pytest.mark.parametrize("prompt_length", range(1, CONTEXT + 1))
def test_a_text_ends_with_the_context(tokenizer: Tokenizer, prompt_length: int) -> None:
    made = model(tokenizer, [3])
    result = made.generate("\0" * prompt_length, max_new_tokens=10**9, greedy=True)
    assert len(result.prompt_ids) == prompt_length
    # The last token is never fed back, so a full context still gives one.
    assert len(result.new_ids) == CONTEXT - prompt_length + 1
    assert result.finish_reason == "length"


def test_a_prompt_longer_than_the_context_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError, match="prompt has 17 tokens, but the model's context is 16"):
        model(tokenizer, [3]).stream("\0" * (CONTEXT + 1))


def test_max_new_tokens_bounds_the_text(tokenizer: Tokenizer) -> None:
    result = model(tokenizer, [3, 4]).generate("a", max_new_tokens=5, greedy=True)
    assert result.new_ids == [3, 4, 3, 4, 3]
    assert result.finish_reason == "length"


def test_the_text_excludes_the_end_of_text_that_stopped_it(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the king")
    result = model(tokenizer, [*ids, EOS]).generate("a", greedy=True)
    assert (result.text, result.new_ids, result.finish_reason) == ("the king", ids, "stop")


def test_every_end_of_text_of_a_list_stops(tokenizer: Tokenizer) -> None:
    for end in (7, EOS):
        made = model(tokenizer, [3, end], eos_token_id=(7, EOS))
        assert made.generate("a", greedy=True).new_ids == [3]


def test_an_end_of_text_at_once_gives_an_empty_text(tokenizer: Tokenizer) -> None:
    result = model(tokenizer, [EOS]).generate("a", greedy=True)
    assert (result.text, result.new_ids, result.finish_reason) == ("", [], "stop")
    assert result.timings.tokens_per_second is None


def test_pieces_are_whole_characters_and_join_to_the_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("é€")
    stream = model(tokenizer, [*ids, EOS]).stream("a", greedy=True)
    pieces = [(piece.text, piece.finish_reason) for piece in stream]
    assert pieces == [("", None), ("é", None), ("", None), ("", None), ("€", None), ("", "stop")]
    assert stream.result().text == "é€"


@pytest.mark.parametrize("end", [[EOS], []])
def test_half_a_character_at_the_end_becomes_a_replacement(
    tokenizer: Tokenizer, end: list[int]
) -> None:
    script = [*tokenizer.encode("€")[:2], *end]
    result = model(tokenizer, script).generate("a", greedy=True, max_new_tokens=len(script))
    assert result.text == "\ufffd"


def test_an_id_that_the_tokenizer_lacks_has_no_text(tokenizer: Tokenizer) -> None:
    first, *rest = tokenizer.encode("é")
    result = model(tokenizer, [first, 288, *rest, EOS]).generate("a", greedy=True)
    assert result.text == "é"
    assert result.new_ids == [first, 288, *rest]


def test_result_runs_what_is_left_of_a_stream(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("Once upon")
    stream = model(tokenizer, [*ids, EOS]).stream("a", greedy=True)
    next(stream)
    assert stream.result().text == "Once upon"
    assert list(stream) == []
    assert stream.result().new_ids == ids


def test_an_empty_prompt_starts_from_end_of_text(tokenizer: Tokenizer) -> None:
    assert model(tokenizer, [3]).generate("", greedy=True).prompt_ids == [EOS]
    no_eos = model(tokenizer, [3], eos_token_id=None, bos_token_id=5)
    assert no_eos.generate("", greedy=True).prompt_ids == [5]


def test_an_empty_prompt_without_end_of_text_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(RequestError, match="no beginning- or end-of-text to start from"):
        model(tokenizer, [3], eos_token_id=None, bos_token_id=None).stream("")


def test_end_of_text_spelled_in_a_prompt_is_the_special_token(tokenizer: Tokenizer) -> None:
    assert model(tokenizer, [3]).generate("<|endoftext|>", greedy=True).prompt_ids == [EOS]


def test_a_result_converts_to_json(tokenizer: Tokenizer) -> None:
    result = model(tokenizer, [70, EOS]).generate("a", seed=3, top_k=1)
    read = json.loads(json.dumps(result.to_dict()))
    assert read["new_ids"] == [70]
    assert read["seed"] == 3
    assert read["timings"]["prompt"] >= 0


def test_a_drawn_seed_is_reported_and_a_greedy_text_has_none(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, [3])
    assert len({made.generate("a").seed for _ in range(3)}) == 3
    assert made.generate("a", greedy=True).seed is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens has to be >= 1, but is 0"),
        ({"max_new_tokens": -5}, "max_new_tokens has to be >= 1, but is -5"),
        ({"top_k": -1}, "top_k has to be >= 0"),
        ({"temperature": -0.1}, "temperature has to be a number >= 0"),
        ({"temperature": float("nan")}, "temperature has to be a number >= 0"),
        ({"seed": -1}, "seed has to be >= 0"),
    ],
)
def test_an_option_out_of_range_is_refused_before_anything_runs(
    tokenizer: Tokenizer, options: dict[str, Any], message: str
) -> None:
    made = model(tokenizer, [3])
    with pytest.raises(RequestError, match=message):
        made.stream("a", **options)


def test_a_tokenizer_of_a_larger_vocabulary_is_refused(tokenizer: Tokenizer) -> None:
    config = GPT2Config(100, n_positions=CONTEXT, n_embd=8, n_layer=1, n_head=1)
    made = Model(config, tokenizer, session_of([3]))
    with pytest.raises(RequestError, match="gives id 286, but the model's vocabulary is 100"):
        made.stream("<|endoftext|>", greedy=True)


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
    with pytest.raises(RequestError, match="no result: an error ended it"):
        stream.result()


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
    assert repr(made) == "<Model: 1 layers, 8 wide, context 16, vocabulary 289, on cpu>"
    assert repr(tokenizer) == "<Tokenizer: 287 ids, 1 of them added tokens>"
    stream = made.stream("a", greedy=True, max_new_tokens=2)
    assert repr(stream) == "<Stream: 1 prompt tokens, 0 new, not finished>"
    next(stream)
    stream.cancel()
    assert repr(stream) == "<Stream: 1 prompt tokens, 1 new, cancelled>"
    assert repr(made.stream("a", greedy=True)).endswith("not finished>")
