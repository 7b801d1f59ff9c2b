"""What a tokenizer.json may hold, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import BundleError, RequestError, StreamDecoder, Tokenizer

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
    assert (
        "".join(map(StreamDecoder(tokenizer).add, [0, 1, 3]))
        == tokenizer.decode([0, 1, 3])
        == "日本\ufffd x"
    )


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
