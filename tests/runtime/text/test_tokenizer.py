"""Our tokenizer against ids and bytes that tokenizers, tiktoken and openai/gpt-2 agree on."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl import BundleError, RequestError, StreamDecoder, Tokenizer
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


def test_the_byte_alphabet_has_a_character_for_every_byte() -> None:
    assert sorted(byte_alphabet().values()) == list(range(256))
    assert byte_alphabet()["Ġ"] == ord(" ")
    assert byte_alphabet()["Ċ"] == ord("\n")
    assert all(character.isprintable() for character in byte_alphabet())


BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": True,
}
TEMPLATE = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}},
}  # fmt: skip


def small(
    vocab: dict[str, int], added: dict[str, bool] | None = None, merges: object = (), **parts: Any
) -> str:
    """A tokenizer.json; ``added`` maps the added tokens of ``vocab`` to whether they are special."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    tokens = [
        {"id": vocab[token], "content": token, "special": special} | flags
        for token, special in (added or {}).items()
    ]
    model = {"type": "BPE", "vocab": vocab, "merges": merges} | parts.pop("model", {})
    content = {
        "added_tokens": tokens,
        "pre_tokenizer": BYTE_LEVEL,
        "decoder": BYTE_LEVEL,
        "model": model,
    }
    return json.dumps(content | parts)


def test_tokens_around_a_text_are_added_or_left_out() -> None:
    tokenizer = Tokenizer(small({"<s>": 0, "a": 1}, {"<s>": True}, post_processor=TEMPLATE))
    assert tokenizer.encode("a") == [0, 1]
    assert tokenizer.encode("") == [0]
    assert tokenizer.encode("a", add_special_tokens=False) == [1]
    assert tokenizer.encode("<s>a", add_special_tokens=False) == [0, 1]
    assert tokenizer.encode("a", parse_special=False) == [0, 1]


def test_padding_and_truncation_in_the_file_do_nothing() -> None:
    padding = {
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "a",
    }  # fmt: skip
    truncation = {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0}
    tokenizer = Tokenizer(small({"a": 0, "b": 1}, padding=padding, truncation=truncation))
    assert tokenizer.encode("abba") == [0, 1, 1, 0]
    assert tokenizer.encode("b", parse_special=False) == [1]


VOCAB = {
    "<s>": 0,
    "pad": 1,
    "<u>": 2,
    "<": 3,
    "s": 4,
    ">": 5,
    "p": 6,
    "a": 7,
    "d": 8,
    "u": 9,
    "pa": 10,
}
ADDED = {"<s>": True, "pad": True, "<u>": False}


@pytest.mark.parametrize("model", [{}, {"ignore_merges": True}])
def test_untrusted_text_never_becomes_a_special_token(model: dict[str, object]) -> None:
    merges = [["p", "a"], ["pa", "d"]]  # ordinary merges end in a special token
    tokenizer = Tokenizer(small(VOCAB, ADDED, merges, model=model, post_processor=TEMPLATE))
    assert tokenizer.encode("<s>pad<u>") == [0, 0, 1, 2]
    untrusted = tokenizer.encode("<s>pad<u>", parse_special=False)
    assert untrusted == [0, 3, 4, 5, 6, 7, 8, 2]  # the first is put around it; <u> is not special
    assert tokenizer.decode(untrusted) == "<s><s>pad<u>"


def test_a_special_token_of_one_byte_cannot_be_told_from_the_byte() -> None:
    tokenizer = Tokenizer(small({"a": 0, "b": 1}, {"a": True}))
    assert tokenizer.encode("ab", parse_special=False) == [0, 1]


def test_tokens_outside_the_byte_alphabet_decode_to_their_own_text() -> None:
    vocab = {"日本": 0, "é": 1, "a b": 2, "Ġx": 3, "日Ġ": 4}
    tokenizer = Tokenizer(small(vocab))
    assert [tokenizer.token_bytes(i) for i in range(5)] == [
        "日本".encode(), b"\xe9", b"a b", b" x", "日Ġ".encode()
    ]  # fmt: skip
    assert tokenizer.decode([0, 3]) == "日本 x"
    assert "".join(streamed(tokenizer, [0, 1, 3])) == tokenizer.decode([0, 1, 3]) == "日本\ufffd x"


def test_a_decoder_may_be_a_sequence_of_one() -> None:
    decoder = {"type": "Sequence", "decoders": [BYTE_LEVEL]}
    assert Tokenizer(small({"Ġ": 0}, decoder=decoder)).decode([0]) == " "
    decoder["decoders"] = [BYTE_LEVEL, BYTE_LEVEL]
    with pytest.raises(ValueError, match="its decoder is Sequence"):
        Tokenizer(small({"Ġ": 0}, decoder=decoder))


def test_unused_ids_and_a_huge_id_cost_no_memory(capfd: pytest.CaptureFixture[str]) -> None:
    text = small({"a": 0, "b": 2**31, "c": 2**32 - 1})
    tokenizer = Tokenizer(text)
    assert tokenizer.encode("abc") == [0, 2**31, 2**32 - 1]
    assert tokenizer.decode([2**31, 0]) == "ba"
    assert 1 not in tokenizer
    assert tokenizer == Tokenizer(json.dumps(json.loads(text), indent=1))
    with pytest.raises(RequestError, match="id 1 is not in the vocabulary of 3"):
        tokenizer.decode([1])
    assert capfd.readouterr() == ("", "")


def test_tokenizers_are_equal_when_their_ids_are() -> None:
    vocab = {"a": 0, "b": 1, "ab": 2}
    pairs, lines = small(vocab, merges=[["a", "b"]]), small(vocab, merges=["a b"], truncation=None)
    assert Tokenizer(pairs) == Tokenizer(lines)
    assert Tokenizer(pairs) != Tokenizer(small(vocab))
    assert Tokenizer(pairs) != Tokenizer(small(vocab | {"c": 3}, merges=[["a", "b"]]))


@pytest.mark.parametrize(
    "parts",
    [
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"(\w+\s?)+\d\d$"}, "behavior": "Isolated", "invert": False}},
        {"post_processor": TEMPLATE | {"special_tokens": {}}},
        {"model": {"unk_token": "missing"}},
    ],
    ids=["backtracking", "post-processor", "unknown"],
)  # fmt: skip
def test_a_file_on_which_the_library_panics_is_refused_in_one_line(
    parts: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(small({"a": 0}, **parts), "utf-8")
    with pytest.raises(BundleError, match=r"tokenizer\.json'.*the tokenizer fails on") as refused:
        Tokenizer.from_file(path)
    assert "\n" not in str(refused.value)


def test_a_text_on_which_the_library_panics_is_refused_in_one_line() -> None:
    split = {
        "type": "Split",
        "pattern": {"Regex": r"(\?+ ?)+\d\d$"},
        "behavior": "Isolated",
        "invert": False,
    }
    tokenizer = Tokenizer(small({"a": 0}, pre_tokenizer=split))
    assert tokenizer.encode("a") == [0]
    for parse_special in (True, False):
        with pytest.raises(
            RequestError, match=r"fails on '\?\?.*backtracks without end"
        ) as refused:
            tokenizer.encode("?" * 60, parse_special=parse_special)
        assert "\n" not in str(refused.value)
    assert tokenizer.encode("a") == [0]


@pytest.mark.parametrize("part", ["pre_tokenizer", "decoder", "normalizer", "post_processor"])
def test_deep_nesting_is_refused_at_once(part: str) -> None:
    parts: dict[str, Any] = {part: "DEEP"}
    text = small({"a": 0}, **parts)
    with pytest.raises(ValueError, match="recursion limit"):
        Tokenizer(text.replace('"DEEP"', '{"type": "Sequence", "decoders": [' * 50_000))


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"model": {"type": "BPE"'])
def test_a_broken_tokenizer_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"tokenizer\.json"):
        Tokenizer.from_file(path)


def test_a_missing_tokenizer_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"tokenizer\.json' does not exist"):
        Tokenizer.from_file(tmp_path / "tokenizer.json")
