"""Ends of sentences, and texts that end there beyond their limit."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.decoding.playback import EOS, model

from gpt2xl import Generation, GenerationOptions, RequestError, Tokenizer, load
from gpt2xl.preparing import SENTENCE_TOKENS
from gpt2xl.text.endings import QUOTE_TOKENS, Endings
from gpt2xl.text.sentences import CONSIDERED, ends_between, is_quoting


@pytest.fixture
def tokenizer(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("It rained.", " He"),
        ("It rained!", "\n"),
        ("It rained…", ' "Oh'),
        ('"Come here."', " He"),
        ("“Come here.”", " “Why"),
        ("(It rained.)", " 3"),
        ("It rained. ", "He"),
        ("so do I.", " He"),
        ("a list", "\n\n"),
        ("a list\n", "\n"),
        ("It rained.", "\n"),
    ],
)
def test_an_end(text: str, following: str) -> None:
    assert ends_between(text, following)


@pytest.mark.parametrize(
    ("text", "following"),
    [
        ("", " He"),
        ("It rained", " He"),
        ("It rained.", ""),
        ("It rained.", "."),
        ("It rained.", '"'),
        ("It rained.", " "),
        ("pi is 3.", "1"),
        ('"Who?"', " said"),
        ("old Mr.", " Fox"),
        ("by J.", " R."),
        ("a line", "\n"),
        ("one, ", "Two"),
    ],
)
def test_no_end(text: str, following: str) -> None:
    assert not ends_between(text, following)


QUOTING = {
    '"Come here. ': True,
    "“Come here. ": True,
    "'Come here. ": True,
    "\u2018Come here. ": True,
    '(she said, "Come. ': True,
    "\"'Come,' he said. ": True,
    '"Come here." ': False,
    '"Come here," she said. ': False,
    "“Come here.” ": False,
    "'Come here.' ": False,
    'Come." She went. ': False,  # the prompt has opened it
    '", she said. ': False,
    "I don't know. ": False,
    "It\u2019s late. ": False,
    "the boys' house. ": False,
    "'Tis late. ": False,
    '"Come. \n\nShe came. ': False,
}


@pytest.mark.parametrize(("text", "is_open"), QUOTING.items())
def test_quotation_marks_that_are_open(text: str, is_open: bool) -> None:
    assert is_quoting(text) is is_open


@given(st.text("aB.!? \n\"'", max_size=200), st.text("aB.!? \n", max_size=9))
def test_the_last_characters_decide(text: str, following: str) -> None:
    found = ends_between(text, following)
    assert ends_between(text[-CONSIDERED:], following) is found


def generated(
    tokenizer: Tokenizer, script: str, count: int, end_at_sentence: bool = True
) -> Generation:
    """By a stream, whose pieces make the text, and the same by a batch."""
    made = model(tokenizer, [*tokenizer.encode(script), EOS])
    stream = made.stream([5], greedy=True, max_new_tokens=count, end_at_sentence=end_at_sentence)
    pieces = [*stream]
    result = stream.result()
    assert "".join(piece.text for piece in pieces) == result.text
    assert pieces[-1].finish_reason == result.finish_reason
    for _, row in made.generate_batch(
        [[5]], rows=1, greedy=True, max_new_tokens=count, end_at_sentence=end_at_sentence
    ):
        assert (row.text, row.finish_reason) == (result.text, result.finish_reason)
        assert row.new_ids == result.new_ids
    return result


def test_a_text_goes_on_until_its_sentence_ends(tokenizer: Tokenizer) -> None:
    short, long = "Oh.", 'Oh. "B," c.'  # a space is a token here
    script = f"{long} D"
    first, second = (len(tokenizer.encode(text)) + 1 for text in (short, long))
    for count in range(1, second + 1):
        found = generated(tokenizer, script, count)
        wanted = short if count <= first else long
        assert (found.text, found.finish_reason) == (wanted, "sentence")
        assert found.new_ids == tokenizer.encode(wanted)
    assert generated(tokenizer, script, first + 2, end_at_sentence=False).finish_reason == "length"


def test_a_text_goes_on_until_its_quotation_ends(tokenizer: Tokenizer) -> None:
    quoted = '"A. B. C."'
    script = f"{quoted} D"
    for count in range(1, len(tokenizer.encode(quoted)) + 1):
        found = generated(tokenizer, script, count)
        assert (found.text, found.finish_reason) == (quoted, "sentence")


@pytest.mark.parametrize("space", ["\n\n", "\n", " \n \n", "  "])
def test_what_follows_the_sentence_is_no_part_of_the_text(space: str, tokenizer: Tokenizer) -> None:
    script = f"Oh.{space}B c"
    for count in range(1, len(tokenizer.encode(f"Oh.{space}")) + 1):
        found = generated(tokenizer, script, count)
        assert (found.text, found.finish_reason) == ("Oh.", "sentence")
        assert found.new_ids == tokenizer.encode("Oh.")


@pytest.mark.parametrize("script", ["Oh. a \n", "Oh b\n\n"])
def test_space_at_another_end_stays(script: str, tokenizer: Tokenizer) -> None:
    found = generated(tokenizer, script, 40)
    assert (found.text, found.finish_reason) == (script, "stop")
    made = model(tokenizer, tokenizer.encode(script * 9))
    length = len(tokenizer.encode(script))
    stream = made.stream([5], greedy=True, max_new_tokens=length + 1, end_at_sentence=True)
    for _ in range(length):
        next(stream)
    stream.cancel()
    assert stream.result().text == script


def test_a_long_quotation_is_ended_with_a_sentence_before_the_limit() -> None:
    watch = Endings(sentence_after=5).watch()
    pieces = ['"', *(["Ab", ".", " "] * 20)]
    ends = [count for count, piece in enumerate(pieces) if watch.ends_before(piece, count)]
    assert 5 + QUOTE_TOKENS <= ends[0] < 5 + QUOTE_TOKENS + 3
    assert ends[0] < 5 + SENTENCE_TOKENS


def test_a_paragraph_that_ends_with_an_open_quotation_ends_the_text(tokenizer: Tokenizer) -> None:
    found = generated(tokenizer, '"A b.\n\n"C', 1)
    assert (found.text, found.finish_reason) == ('"A b.', "sentence")


def test_end_of_text_comes_before_the_sentence(tokenizer: Tokenizer) -> None:
    found = generated(tokenizer, "A. And b", 4)
    assert (found.text, found.finish_reason) == ("A. And b", "stop")


def test_a_sentence_without_an_end_is_cut(bundle: Path, tokenizer: Tokenizer) -> None:
    (letter,) = tokenizer.encode("a")
    options = GenerationOptions(
        allowed_token_ids=(letter,), max_new_tokens=5, end_at_sentence=True, ignore_eos=True
    )
    found = load(bundle).generate("Once", options)
    assert (len(found.new_ids), found.finish_reason) == (5 + SENTENCE_TOKENS, "length")


def test_the_context_limits_the_further_tokens(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, tokenizer.encode("a" * 200))
    room = made.config.n_positions
    for count in (room - 3, room, 500):
        found = made.generate([5], greedy=True, max_new_tokens=count, end_at_sentence=True)
        assert (len(found.new_ids), found.finish_reason) == (room, "length")


def test_what_a_stop_string_may_begin_with_is_shown(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, tokenizer.encode("Oh.\nB"))
    found = made.generate([5], max_new_tokens=1, end_at_sentence=True, stop_strings=(".X",))
    assert (found.text, found.finish_reason) == ("Oh.", "sentence")


def test_log_probabilities_are_of_the_tokens_of_the_text(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, tokenizer.encode("Oh.\nB"))
    found = made.generate([5], max_new_tokens=1, end_at_sentence=True, logprobs=0)
    assert found.logprobs is not None
    assert len(found.logprobs) == len(found.new_ids)


def test_searches_refuse_it(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, [3])
    with pytest.raises(RequestError, match="end_at_sentence"):
        made.generate_sequences([5], num_beams=2, greedy=True, end_at_sentence=True)
