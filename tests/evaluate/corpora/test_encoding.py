"""Ids of large texts and of bytes."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl import RequestError, Tokenizer
from gpt2xl_eval.corpora import encoding
from gpt2xl_eval.corpora.encoding import encode_bytes, encode_text, prefix_ids
from gpt2xl_export.tokenizer.source_tokenizer import read_source_tokenizer


@pytest.fixture(scope="module")
def genuine(genuine_files: Path) -> Tokenizer:
    return Tokenizer(read_source_tokenizer(genuine_files, 1024).json)


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


@pytest.mark.parametrize("part_characters", [1, 7, 100])
@settings(max_examples=100, deadline=None)
@given(text=st.text(st.sampled_from("ab1 \n\t.'s\u00a0é"), max_size=200))
def test_parts_have_the_ids_of_the_whole(
    genuine: Tokenizer, part_characters: int, text: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "PART_CHARACTERS", part_characters)
        assert list(encode_text(genuine, text)) == genuine.encode(text, parse_special=False)


def test_special_tokens_in_a_text_are_ordinary_text(tiny: Tokenizer) -> None:
    ids = encode_text(tiny, "a <|endoftext|> b")
    assert tiny.special_ids.isdisjoint(ids)
    assert tiny.decode(ids) == "a <|endoftext|> b"


@given(content=st.binary(max_size=50))
def test_bytes_that_are_not_text_are_tokens_of_one_byte(tiny: Tokenizer, content: bytes) -> None:
    ids = encode_bytes(tiny, content)
    assert b"".join(map(tiny.token_bytes, ids)) == content


def test_a_prefix_is_one_token(tiny: Tokenizer) -> None:
    assert prefix_ids(tiny, "endoftext") == [286]
    assert tiny.decode(prefix_ids(tiny, "newline")) == "\n"
    assert prefix_ids(tiny, "none") == []


def test_a_vocabulary_without_the_prefix_is_refused(tiny: Tokenizer) -> None:
    without = Tokenizer(tiny._json.replace("<|endoftext|>", "<|other|>"))
    with pytest.raises(RequestError, match=r"has no token '<\|endoftext\|>'; choose another"):
        prefix_ids(without, "endoftext")
