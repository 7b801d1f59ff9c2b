"""Our tokenizer against ids and bytes that tokenizers, tiktoken and openai/gpt-2 agree on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl import RequestError, StreamDecoder, Tokenizer
from gpt2xl.text.tokenizer import byte_alphabet
from gpt2xl_export.tokenizer.source_tokenizer import read_source_tokenizer

END_OF_TEXT = 50256
PARTS = [
    "<|endoftext|>", "<|endoftext", " ", "\n", "\t", "\u3000", "'s", "'LL", "12", "½", "é", "e\u0301", "ß",
    "Straße", "王", "👩‍👩‍👧", "\ufffd", "\0", "\r\n", "ﬁ", "İ", "Once", " upon",
]  # fmt: skip
TEXTS = st.text() | st.lists(st.sampled_from(PARTS) | st.text(max_size=3)).map("".join)


@pytest.fixture(scope="module")
def genuine(genuine_files: Path) -> Tokenizer:
    """GPT-2's own vocabulary and merges, through the exporter."""
    return Tokenizer(read_source_tokenizer(genuine_files, 1024).json)


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> Tokenizer:
    """Bytes, 30 merges and end-of-text: nearly every character is several tokens."""
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


@pytest.fixture(scope="module", params=["genuine", "tiny"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """Each of the two."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Tokenizer)
    return found


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> Callable[[str], list[dict[str, Any]]]:
    """Call it with the name of a file for the cases in it."""

    def read(name: str) -> list[dict[str, Any]]:
        lines = (shared_data / "tokenizer" / name).read_text("utf-8").split("\n")
        return [json.loads(line) for line in lines if line]

    return read


def streamed(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """The streamed pieces of ``ids``; the last one stands for an unfinished character."""
    decoder = StreamDecoder(tokenizer)
    return [*map(decoder.add, ids), decoder.finish()]


@pytest.mark.parametrize(
    ("name", "count"), [("golden_public.jsonl", 174), ("golden_generated.jsonl", 1368)]
)
def test_published_and_generated_texts_encode_to_golden_ids(
    genuine: Tokenizer, golden: Callable[[str], list[dict[str, Any]]], name: str, count: int
) -> None:
    cases = golden(name)
    assert len(cases) == count
    for case in cases:
        parse_special = case.get("parse_special", False)
        assert genuine.encode(case["text"], parse_special=parse_special) == case["ids"], case
        assert genuine.decode(case["ids"]) == case["text"], case


def test_end_of_text_is_a_special_token_or_thirteen_ordinary_characters(
    genuine: Tokenizer, golden: Callable[[str], list[dict[str, Any]]]
) -> None:
    cases = golden("golden_special.jsonl")
    assert sum(END_OF_TEXT in case["ids"] for case in cases) == 11
    for case in cases:
        assert genuine.encode(case["text"]) == case["ids"], case
        assert genuine.encode(case["text"], parse_special=False) == case["ids_ordinary"], case
        assert genuine.decode(case["ids"]) == genuine.decode(case["ids_ordinary"]) == case["text"]


def test_random_ids_decode_to_golden_bytes_whole_and_streamed(
    genuine: Tokenizer, golden: Callable[[str], list[dict[str, Any]]]
) -> None:
    cases = golden("golden_decode.jsonl")
    assert sum(not case["valid_utf8"] for case in cases) > 50
    for case in cases:
        ids = case["ids"]
        assert b"".join(map(genuine.token_bytes, ids)).hex() == case["bytes_hex"]
        assert genuine.decode(ids) == case["text_replace"]
        assert "".join(streamed(genuine, ids)) == case["text_replace"]


def test_the_vocabulary_is_gpt2s(genuine: Tokenizer) -> None:
    assert genuine.vocab_size == 50257
    assert genuine.encode("hello world") == [31373, 995]
    assert genuine.token_bytes(END_OF_TEXT) == b"<|endoftext|>"


@settings(deadline=None)
@given(text=TEXTS, parse_special=st.booleans())
def test_decoding_inverts_encoding(tokenizer: Tokenizer, text: str, parse_special: bool) -> None:
    assert tokenizer.decode(tokenizer.encode(text, parse_special=parse_special)) == text


@settings(deadline=None)
@given(text=TEXTS)
def test_no_piece_of_a_streamed_text_holds_half_a_character(
    tokenizer: Tokenizer, text: str
) -> None:
    ids = tokenizer.encode(text)
    *pieces, rest = streamed(tokenizer, ids)
    assert rest == ""
    assert "".join(pieces) == text
    for piece, token_id in zip(pieces, ids, strict=True):
        # What a piece adds is whole characters and ends inside its own token.
        assert len(piece.encode("utf-8")) <= len(tokenizer.token_bytes(token_id)) + 3
        assert "\ufffd" not in piece or "\ufffd" in text


@settings(deadline=None)
@given(data=st.data())
def test_streaming_any_ids_gives_what_decoding_gives(
    tokenizer: Tokenizer, data: st.DataObject
) -> None:
    ids = data.draw(st.lists(st.integers(0, tokenizer.vocab_size - 1)))
    text = tokenizer.decode(ids)
    pieces = streamed(tokenizer, ids)
    assert "".join(pieces) == text
    for piece in pieces:
        assert piece.encode("utf-8").decode("utf-8") == piece
        assert "\ufffd" not in piece or "\ufffd" in text


def test_a_character_of_three_tokens_arrives_with_its_last_one(tiny: Tokenizer) -> None:
    ids = tiny.encode("€")
    assert len(ids) == 3
    assert streamed(tiny, ids) == ["", "", "€", ""]


def test_an_unfinished_character_becomes_one_replacement_at_the_end(tiny: Tokenizer) -> None:
    ids = tiny.encode("a€")[:-1]
    assert streamed(tiny, ids) == ["a", "", "", "\ufffd"]
    assert tiny.decode(ids) == "a\ufffd"


def test_a_special_token_ends_an_unfinished_character(tiny: Tokenizer) -> None:
    ids = [tiny.encode("€")[0], *tiny.encode("<|endoftext|>")]
    assert len(ids) == 2
    assert streamed(tiny, ids) == ["", "\ufffd<|endoftext|>", ""]


def test_in_tells_whether_the_vocabulary_has_an_id(tiny: Tokenizer) -> None:
    assert all(token_id in tiny for token_id in range(287))


@pytest.mark.parametrize("token_id", [287, -1, 2**31, 2**32, 2**70])
def test_an_id_outside_the_vocabulary_is_named(tiny: Tokenizer, token_id: int) -> None:
    assert token_id not in tiny
    with pytest.raises(RequestError, match=f"id {token_id} is not in the vocabulary of 287"):
        tiny.decode([token_id])


@pytest.mark.parametrize("parse_special", [True, False])
@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_a_lone_surrogate_is_refused(tiny: Tokenizer, text: str, parse_special: bool) -> None:
    with pytest.raises(RequestError, match="lone surrogate"):
        tiny.encode(text, parse_special=parse_special)


@pytest.mark.parametrize("ids", ["a", ["a"], [1.5], [None]])
def test_what_is_no_id_is_named(tiny: Tokenizer, ids: Any) -> None:
    with pytest.raises(
        RequestError, match=r"a token id is an integer, but this one is ('a'|1\.5|None)"
    ):
        tiny.decode(ids)


def test_the_byte_alphabet_has_a_character_for_every_byte() -> None:
    assert sorted(byte_alphabet().values()) == list(range(256))
    assert byte_alphabet()["Ġ"] == ord(" ")
    assert byte_alphabet()["Ċ"] == ord("\n")
    assert all(character.isprintable() for character in byte_alphabet())


def test_a_stream_leaves_out_its_first_bytes(genuine: Tokenizer) -> None:
    """Also within a token and within a character."""
    ids = genuine.encode("the king \u4e2d\u6587")
    whole = genuine.decode(ids).encode()
    for count in range(len(whole) + 3):
        decoder = StreamDecoder(genuine, skipped_bytes=count)
        text = "".join(map(decoder.add, ids)) + decoder.finish()
        assert text == whole[count:].decode("utf-8", "replace")
