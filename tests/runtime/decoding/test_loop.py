"""The decode loop and the front, over a session that plays back a script."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.chains import chain_of
from tests.runtime.decoding.playback import CONTEXT, EOS, model, session_of

from gpt2xl import GenerationOptions, GPT2Config, Model, RequestError, Tokenizer
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.loop import Request, generate_tokens

GREEDY = GenerationOptions(greedy=True)


def run(
    script: Sequence[int], prompt: list[int], max_new_tokens: int, eos: set[int]
) -> tuple[list[tuple[int, str | None]], list[list[int]]]:
    """(id, finish_reason) of each token, and what was fed."""
    session = session_of(script)
    request = Request(prompt, chain_of(GREEDY, None), max_new_tokens, eos)
    tokens: list[tuple[int, str | None]] = [
        (token.id, token.finish_reason) for token in generate_tokens(Context(session), request)
    ]
    return tokens, [row for (row,) in session.fed]


@pytest.fixture
def tokenizer(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


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
    tokens = generate_tokens(Context(session), Request([1], chain_of(GREEDY, None), 2))
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
