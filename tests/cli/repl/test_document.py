"""The text as ids: edits, cuts, and what a model sees of a long text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import tiny_tokenizer

import gpt2xl
from gpt2xl.decoding.sliding import Slide
from gpt2xl_cli.repl.document import Document, edited, ids_of_text, shown, text_of

TOKENIZER = gpt2xl.Tokenizer(tiny_tokenizer().to_str())
TEXT = "Once upon a time there was a king, é 日本 who had a daughter."


def document(text: str) -> Document:
    return Document(tuple(TOKENIZER.encode(text)))


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=30))
def test_an_edit_gives_the_text(before: str, after: str, common: str) -> None:
    old = document(common + before)
    assert text_of(edited(old, common + after, TOKENIZER), TOKENIZER) == common + after


@given(st.integers(0, len(TEXT)))
def test_a_text_cut_anywhere_keeps_its_first_ids(end: int) -> None:
    ids = TOKENIZER.encode(TEXT)
    cut = ids_of_text(ids, TEXT[:end], TOKENIZER)
    assert TOKENIZER.decode(cut) == TEXT[:end]
    same = next((n for n, pair in enumerate(zip(cut, ids, strict=False)) if len({*pair}) > 1), end)
    assert len(TOKENIZER.decode(ids[: same + 1])) >= min(end, len(TOKENIZER.decode(cut)))


def test_an_edit_keeps_the_ids_before_it() -> None:
    old = document(TEXT)
    new = edited(old, TEXT.replace("daughter", "son"), TOKENIZER)
    place = TEXT.index(" daughter")
    kept = len(TOKENIZER.encode(TEXT[:place]))
    assert new.ids[:kept] == old.ids[:kept]
    assert new.ids == tuple(TOKENIZER.encode(TEXT.replace("daughter", "son")))


def test_a_word_that_gets_longer_is_tokenized_as_a_whole() -> None:
    new = edited(document("there was a kin"), "there was a king", TOKENIZER)
    assert new.ids == tuple(TOKENIZER.encode("there was a king"))


def test_an_edit_keeps_what_is_hidden() -> None:
    old = Document((286, *TOKENIZER.encode("Once")), hidden=1)
    assert edited(old, "Twice", TOKENIZER) == Document((286, *TOKENIZER.encode("Twice")), 1)
    assert text_of(old, TOKENIZER) == "Once"


@given(st.integers(2, 12), st.integers(0, 5), st.integers(1, 11), st.integers(1, 60))
def test_a_long_text_is_seen_as_by_one_generation(
    n_positions: int, keep: int, window: int, length: int
) -> None:
    if keep + window >= n_positions:
        keep, window = 0, 1
    slide, ids = Slide(keep, window, n_positions), list(range(length))
    for end in range(1, length + 1):
        seen = slide.shown(ids[:end])
    assert shown(ids, keep, window, n_positions) == seen


@pytest.mark.parametrize("text", ["", "a"])
def test_an_id_that_the_tokenizer_lacks_has_no_text(text: str) -> None:
    assert text_of(Document((*TOKENIZER.encode(text), 5000)), TOKENIZER) == text
