"""Stop strings: found wherever tokens begin and end, and never half shown."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.runtime.decoding.playback import EOS, model

from gpt2xl import Model, Tokenizer
from gpt2xl.text.stop_strings import StopStrings

AB = st.text("ab", max_size=12)
STRINGS = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3)


@pytest.fixture
def tokenizer(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


def cut(text: str, strings: Sequence[str], keep: bool = False) -> tuple[str, str | None]:
    """``text`` up to the first end of a stop string, and the longest one that ends there; by trying every end."""
    for end in range(1, len(text) + 1):
        found = [string for string in strings if text[:end].endswith(string)]
        if found:
            longest = max(found, key=len)
            return text[: end if keep else end - len(longest)], longest
    return text, None


@given(parts=st.lists(AB, max_size=8), strings=STRINGS, keep=st.booleans())
@example(["a", "ab", "b"], ["aab", "b"], False)
def test_the_result_does_not_depend_on_how_a_text_is_cut(
    parts: list[str], strings: list[str], keep: bool
) -> None:
    wanted, found = cut("".join(parts), strings, keep)
    stops, shown = StopStrings(strings, keeps_found=keep), ""
    for part in parts:
        shown += stops.add(part)
        assert wanted.startswith(shown)
        is_beginning = any(string.startswith(stops.held) for string in strings)
        assert is_beginning, "held back without need"
    shown += stops.finish()
    assert (shown, stops.found) == (wanted, found)


def test_a_stop_string_across_tokens_ends_the_text(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the king said: go")
    result = model(tokenizer, ids).generate("a", greedy=True, stop_strings=("ing sa",))
    assert (result.text, result.finish_reason, result.stop_string) == ("the k", "stop", "ing sa")
    assert len(tokenizer.decode(result.new_ids[:-1])) < len("the king sa")  # ends with that token
    assert tokenizer.decode(result.new_ids).startswith("the king sa")


def test_of_several_the_first_to_end_counts(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, tokenizer.encode("the king said"))
    for strings, text, found in (
        (("said", "king", "nothing"), "the ", "king"),
        (("g s", "ng", "king"), "the ", "king"),  # both end here: the longer
        (("e king said", "king"), "the ", "king"),
    ):
        result = made.generate("a", greedy=True, stop_strings=strings)
        assert (result.text, result.stop_string) == (text, found)


def test_a_stop_string_stays_where_it_is_kept(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, tokenizer.encode("the king said"))
    options = {"greedy": True, "stop_strings": ("king",)}
    kept = made.generate("a", keep_stop_string=True, **options)  # type: ignore[arg-type]
    assert (kept.text, kept.stop_string) == ("the king", "king")
    assert kept.new_ids == made.generate("a", **options).new_ids  # type: ignore[arg-type]


def test_pieces_never_show_a_half_stop_string(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("kin the king")
    pieces = list(model(tokenizer, ids).stream("a", greedy=True, stop_strings=("king",)))
    shown = [piece.text for piece in pieces]
    assert "".join(shown) == "kin the "
    assert pieces[-1].finish_reason == "stop"
    for count in range(len(shown)):
        assert not "".join(shown[:count]).endswith("k")


def test_a_beginning_of_a_stop_string_is_shown_when_the_text_ends(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("the kin")
    for script in ([*ids, EOS], ids):
        made = model(tokenizer, script)
        result = made.generate("a", greedy=True, stop_strings=("king",), max_new_tokens=len(script))
        assert (result.text, result.stop_string) == ("the kin", None)


def test_a_cancelled_text_has_what_was_held_back(tokenizer: Tokenizer) -> None:
    stream = model(tokenizer, tokenizer.encode("k")).stream(
        "a", greedy=True, stop_strings=("king",)
    )
    assert next(stream).text == ""
    stream.cancel()
    assert stream.result().text == "k"


def test_a_stop_string_that_the_last_character_completes_ends_the_text(
    tokenizer: Tokenizer,
) -> None:
    """Half a character becomes U+FFFD only when the text ends."""
    half = tokenizer.encode("€")[:2]
    result = model(tokenizer, half).generate(
        "a", greedy=True, max_new_tokens=2, stop_strings=("\ufffd",)
    )
    assert (result.text, result.finish_reason, result.stop_string) == ("", "stop", "\ufffd")


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("keep", [False, True])
def test_alone_in_batches_and_with_draft_tokens_on_the_demo(
    demo: Callable[[str], Model], tales: list[str], precision: str, keep: bool
) -> None:
    made, tale = demo(precision), tales[5]
    whole = made.generate(tale, greedy=True, max_new_tokens=60)
    text = whole.text
    for start, size in ((len(text) // 2, 7), (len(text) // 3, 2), (40, 11)):
        strings = (text[start : start + size], "\0", text[start + 3 : start + size + 3])
        wanted, found = cut(text, strings, keep)
        options = {"greedy": True, "max_new_tokens": 60, "stop_strings": strings}
        options |= {"keep_stop_string": keep}
        batch = made.generate_batch([tale, tale, "One day"], rows=3, **options)  # type: ignore[arg-type]
        rows = dict(batch)
        results = [
            rows[0],
            rows[1],
            made.generate(tale, **options),  # type: ignore[arg-type]
            made.generate(tale, prompt_lookup=False, **options),  # type: ignore[arg-type]
            made.generate(tale, draft=demo("draft"), **options),  # type: ignore[arg-type]
        ]
        for result in results:
            assert (result.text, result.stop_string) == (wanted, found)
            assert result.new_ids == whole.new_ids[: len(result.new_ids)]
            assert result.finish_reason == "stop"
