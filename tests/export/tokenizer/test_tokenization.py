"""The second reading of a tokenizer, and the comparison of the two."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl import CheckpointError, ParityError, Tokenizer
from gpt2xl_export.tokenizer.plain_bpe import PlainTokenizer
from gpt2xl_export.tokenizer.source_tokenizer import read_source_tokenizer
from gpt2xl_export.tokenizer.tokenization import check_tokenization, texts
from gpt2xl_export.verification.verify import Check, verify

TOKENS = [
    {"id": 287, "content": " pad", "lstrip": True, "rstrip": True, "normalized": False, "special": False},
    {"id": 288, "content": "king", "single_word": True, "normalized": True, "special": False},
    {"id": 289, "content": "<|a|>", "lstrip": True, "normalized": False, "special": True},
    {"id": 290, "content": "<|a|>b", "rstrip": True, "normalized": True, "special": True},
    {"id": 291, "content": "É!", "normalized": True, "special": False},
]  # fmt: skip
PIECES = [
    " pad",
    "king",
    "kingdom",
    "<|a|>",
    "<|a|>b",
    "É",
    "e\u0301",
    " ",
    "\n",
    "\u3000",
    "the",
    "_",
    "7",
    "<|endoftext|>",
]
# The library knows a newer Unicode than Python 3.11: U+2EBF0 is a letter there, and unassigned here.
KNOWN = st.characters(exclude_categories=["Cs", "Cn"])
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(KNOWN, max_size=3)).map("".join)
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def content(checkpoint: Path) -> dict[str, Any]:
    """A tokenizer.json with added tokens of every kind, a normalizer and ids around the text."""
    found: dict[str, Any] = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
    found["added_tokens"] += [plain | token for token in TOKENS]
    found["normalizer"] = {"type": "NFC"}
    found["pre_tokenizer"]["add_prefix_space"] = True
    found["post_processor"] = {
        "type": "Sequence",
        "processors": [
            {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": False,
                "use_regex": True,
            },
            {"type": "BertProcessing", "sep": ["<|endoftext|>", 286], "cls": ["<|a|>", 289]},
        ],
    }
    return found


@settings(deadline=None, max_examples=300)
@given(text=TEXTS, parse_special=st.booleans())
def test_both_readings_agree_on_any_text(
    content: dict[str, Any], text: str, parse_special: bool
) -> None:
    plain, library = PlainTokenizer(content), Tokenizer(json.dumps(content))
    ids = library.encode(text, parse_special=parse_special)
    assert plain.encode(text, parse_special=parse_special) == ids
    assert (ids[0], ids[-1]) == (289, 286)
    assert plain.decode(ids) == library.decode(ids)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"vocab": {"a": 0, "?": 1}, "unk_token": "?"}, "abba"),
        ({"vocab": {"a": 0, "?": 1}, "unk_token": "?", "fuse_unk": True}, "abba bb"),
        ({"vocab": {"a": 0}}, "abba"),
        ({"vocab": {"a": 0, "<0x62>": 1}, "byte_fallback": True}, "abba"),
        ({"vocab": {"a": 0, "aaa": 1}, "ignore_merges": True}, "aaa aaaa"),
        ({"vocab": {"a": 0, "aa": 1, "aaa": 2}, "merges": [["a", "a"], ["aa", "a"]]}, "aaaaa aaaaaaa"),
        ({"vocab": {"a": 0, "aa": 1}, "merges": [["a", "a"], ["a", "a"]]}, "aaa"),
    ],
)  # fmt: skip
def test_both_readings_agree_on_odd_models(
    checkpoint: Path, model: dict[str, Any], text: str
) -> None:
    content = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    content |= {"model": {"type": "BPE", "merges": []} | model, "added_tokens": []}
    ids = Tokenizer(json.dumps(content)).encode(text)
    assert PlainTokenizer(content).encode(text) == ids != []


@pytest.mark.parametrize("name", ["golden_public.jsonl", "golden_generated.jsonl"])
def test_the_second_reading_gives_published_ids(
    genuine_files: Path, shared_data: Path, name: str
) -> None:
    plain = PlainTokenizer(read_source_tokenizer(genuine_files, 1024).content)
    lines = (shared_data / "tokenizer" / name).read_text("utf-8").split("\n")
    for case in (json.loads(line) for line in lines if line):
        assert (
            plain.encode(case["text"], parse_special=case.get("parse_special", False))
            == case["ids"]
        )


def test_the_genuine_tokenizer_is_checked(genuine_files: Path) -> None:
    source = read_source_tokenizer(genuine_files, 1024)
    report = check_tokenization(PlainTokenizer(source.content), Tokenizer(source.json))
    assert (report.strings > 300, report.tokens > 4000) == (True, True)


def test_every_added_token_is_tried_in_context() -> None:
    assert {"<x>", " <x> ", "a<x>b", "<x><x>"} <= set(texts(["<x>"]))
    assert len(texts([f"<{i}>" for i in range(1000)])) < 1000


def with_added(content: dict[str, Any], *spellings: str) -> dict[str, Any]:
    """A copy of ``content`` with more special tokens."""
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    more = [
        {"id": 287 + number, "content": spelling, "special": True} | flags
        for number, spelling in enumerate(spellings)
    ]
    return content | {"added_tokens": [*content["added_tokens"], *more]}


def test_a_very_long_added_token_is_not_tried(checkpoint: Path) -> None:
    content = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    content = with_added(content, "".join(map(str, range(2_300))), "<x>")
    report = check_tokenization(PlainTokenizer(content), Tokenizer(json.dumps(content)))
    assert report.strings == len(texts(["<|endoftext|>", "<x>"]))


def test_thousands_of_added_tokens_are_checked_in_seconds(checkpoint: Path) -> None:
    content = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    content = with_added(content, *(f"<|{number}|>" for number in range(20_000)))
    source, bundle = PlainTokenizer(content), Tokenizer(json.dumps(content))
    started = time.process_time()
    check_tokenization(source, bundle)
    assert time.process_time() - started < 10


def swap_two_bytes(content: dict[str, Any]) -> None:
    vocab = content["model"]["vocab"]
    vocab["Q"], vocab["Z"] = vocab["Z"], vocab["Q"]


def forget_a_merge(content: dict[str, Any]) -> None:
    content["model"]["merges"].pop(0)


def add_a_space(content: dict[str, Any]) -> None:
    content["pre_tokenizer"]["add_prefix_space"] = True


def strip_spaces(content: dict[str, Any]) -> None:
    content["added_tokens"][0]["lstrip"] = True


def begin_with_end_of_text(content: dict[str, Any]) -> None:
    ends = {"sep": ["", 1], "cls": ["<|endoftext|>", 286]}
    content["post_processor"] = {"type": "BertProcessing", **ends}


CHANGES = [swap_two_bytes, forget_a_merge, add_a_space, strip_spaces, begin_with_end_of_text]


@pytest.mark.parametrize("change", CHANGES)
def test_a_difference_is_found_and_the_string_named(checkpoint: Path, change: Change) -> None:
    content = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    source = PlainTokenizer(json.loads(json.dumps(content)))
    change(content)
    with pytest.raises(
        ParityError,
        match=r"tokenizer.json gives '.*' the ids \[.* from token \d+ on, an independent BPE gives \[",
    ):
        check_tokenization(source, Tokenizer(json.dumps(content)))


def test_a_text_that_cannot_be_encoded_is_named(checkpoint: Path) -> None:
    content = json.loads((checkpoint / "tokenizer.json").read_text("utf-8"))
    content["pre_tokenizer"] = {
        "type": "Split", "pattern": {"Regex": r"(\?+ ?)+\d\d$"}, "behavior": "Isolated", "invert": False,
    }  # fmt: skip
    tokenizer = Tokenizer(json.dumps(content))
    with pytest.raises(CheckpointError, match=r"fails on '\?\?.*backtracks without end"):
        check_tokenization(PlainTokenizer(content), tokenizer)


def outcome(bundle: Path, source: Path | None = None) -> Check:
    """The check of the tokenizer."""
    return next(check for check in verify(bundle, source) if check.name == "tokenization")


@pytest.fixture
def changed(bundle: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Call it with a change of tokenizer.json for a copy of the bundle's small files that passes its sums."""

    def make(change: Change) -> Path:
        import hashlib
        import shutil

        copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
        path, manifest = (
            copy / "tokenizer.json",
            json.loads((copy / "gpt2xl.json").read_text("utf-8")),
        )
        content = json.loads(path.read_text("utf-8"))
        change(content)
        path.write_text(json.dumps(content), "utf-8")
        data = path.read_bytes()
        manifest["files"]["tokenizer.json"] = {
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        (copy / "gpt2xl.json").write_text(json.dumps(manifest), "utf-8")
        return copy

    return make


def test_the_manifest_has_the_figures_and_verify_repeats_them(
    bundle: Path, checkpoint: Path
) -> None:
    report = json.loads((bundle / "gpt2xl.json").read_text("utf-8"))["tokenization"]
    said = f"{report['strings']} strings, {report['tokens']} tokens: as an independent BPE on the"
    assert outcome(bundle) == Check("tokenization", "ok", f"{said} bundle's tokenizer.json")
    assert outcome(bundle, checkpoint) == Check(
        "tokenization", "ok", f"{said} source's files, read again"
    )


@pytest.mark.parametrize("change", CHANGES)
def test_verify_notices_a_tokenizer_that_was_changed(
    changed: Callable[[Change], Path], checkpoint: Path, change: Change
) -> None:
    copy = changed(change)
    assert outcome(copy).status == "failed"
    check = outcome(copy, checkpoint)
    assert check.status == "failed"
    assert check.detail.startswith("tokenizer.json gives '")
