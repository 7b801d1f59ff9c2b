"""Parts of a tokenizer.json that would make the library panic, print, or take all memory are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2xl.text.tokenizer_json import parse

BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
PARTS: dict[str, tuple[dict[str, Any], str]] = {
    "SentencePiece's normalizer": (
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, "has Precompiled",
    ),
    "a normalizer that prepends nothing": (
        {"normalizer": {"type": "Prepend", "prepend": ""}}, "its Prepend is empty",
    ),
    "a normalizer that prepends a book": (
        {"normalizer": {"type": "Prepend", "prepend": "x" * 100_000}}, "has more than 1000 characters",
    ),
    "pieces of no length": (
        {"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "its FixedLength is empty",
    ),
    "bytes of bytes of bytes": (
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [BYTES] * 40}}, "more than once",
    ),
    "bytes of bytes, one of them deeper": (
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            BYTES, {"type": "Sequence", "pretokenizers": [BYTES]}]}}, "more than once",
    ),
    "steps without end": (
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 1000}}, "more than once",
    ),
    "a decoder of WordPiece": (
        {"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True}}, "its decoder is WordPiece",
    ),
}  # fmt: skip


@pytest.fixture
def content(checkpoint: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    return read


@pytest.mark.parametrize(("part", "message"), PARTS.values(), ids=PARTS)
def test_parts_that_no_byte_level_bpe_has_are_refused_without_output(
    content: dict[str, Any], part: dict[str, Any], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=message):
        parse(json.dumps(content | part))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("key", ["continuing_subword_prefix", "end_of_word_suffix"])
def test_word_piece_settings_are_refused_without_output(
    content: dict[str, Any], key: str, capfd: pytest.CaptureFixture[str]
) -> None:
    content["model"][key] = "##"
    with pytest.raises(ValueError, match=f"it has {key}"):
        parse(json.dumps(content))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("part", "letter"),
    [
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, "Precompil*d"),
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, "typ*"),
        ({"model": {"type": "BPE", "vocab": {}, "merges": [], "end_of_word_suffix": "#"}}, "*nd_of_word_suffix"),
    ],
)  # fmt: skip
def test_json_escapes_hide_nothing(
    content: dict[str, Any], part: dict[str, Any], letter: str, capfd: pytest.CaptureFixture[str]
) -> None:
    text = json.dumps(content | part)
    hidden = text.replace(
        f'"{letter.replace("*", "e")}"', f'"{letter.replace("*", chr(92) + "u0065")}"'
    )
    assert (hidden != text, json.loads(hidden) == json.loads(text)) == (True, True)
    with pytest.raises(ValueError, match="not a byte-level BPE as GPT-2 has it: it has"):
        parse(hidden)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ['{"\\u0065', '["\\u0065"' + "[" * 100_000])
def test_a_broken_text_with_an_escape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a tokenizer\.json"):
        parse(text)


def test_what_byte_level_bpes_have_is_accepted(content: dict[str, Any]) -> None:
    split = {"type": "Split", "pattern": {"Regex": r"\s+"}, "behavior": "Isolated", "invert": False}
    steps = {"type": "Sequence", "pretokenizers": [split, BYTES | {"use_regex": False}]}
    normalizer = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}
    parsed = parse(json.dumps(content | {"pre_tokenizer": steps, "normalizer": normalizer}))
    assert parsed.encode("ÉA b").ids == parsed.encode("éa b").ids


def test_a_huge_added_token_is_refused_at_once(content: dict[str, Any]) -> None:
    content["added_tokens"][0]["content"] = "x" * 1_000_000
    with pytest.raises(ValueError, match="more than 10000 characters"):
        parse(json.dumps(content))
