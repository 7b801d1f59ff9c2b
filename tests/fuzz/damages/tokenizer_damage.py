"""Damages of tokenizer.json, vocab.json and merges.txt: they parse, but mean something else or nothing."""

from random import Random
from typing import Any

from tests.fuzz.damages import json_damage
from tests.fuzz.damages.damage import Damaged

REGEXES = (
    r"(\w+\s?)+\d\d$", r"(a|aa)+$", "(", "", ".", r"(?<=x)", "x*", r"\p{L}+", "(?i)" + "a?" * 30 + "a" * 30,
    "[" * 2000, r"(((((.{0,200}){0,200}){0,200}){0,200}){0,200})", r"\1", "(?>a)",
)  # fmt: skip
SPLITS = ("Isolated", "Removed", "MergedWithPrevious", "Contiguous", "no such")
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": True,
    "trim_offsets": True,
    "use_regex": True,
}


def _splits(rng: Random) -> Any:
    pattern = {rng.choice(("Regex", "String")): rng.choice(REGEXES)}
    return rng.choice((
        {"type": "Split", "pattern": pattern, "behavior": rng.choice(SPLITS), "invert": rng.random() < 0.5},
        {"type": "Sequence", "pretokenizers": [BYTE_LEVEL] * rng.choice((0, 1, 2, 500))},
        {"type": "Metaspace", "replacement": rng.choice(("▁", "", "ab")), "prepend_scheme": "always"},
        {"type": "Digits", "individual_digits": True}, {"type": "BertPreTokenizer"},
        {"type": "CharDelimiterSplit", "delimiter": rng.choice(("a", "", "ab"))},
        {"type": "Punctuation", "behavior": rng.choice(SPLITS)}, {"type": "FixedLength", "length": rng.choice((0, 1, -1))},
        {"type": "UnicodeScripts"}, {"type": "WhitespaceSplit"}, {"type": "no such"}, BYTE_LEVEL,
    ))  # fmt: skip


def _normalizes(rng: Random) -> Any:
    pattern = {rng.choice(("Regex", "String")): rng.choice(REGEXES)}
    return rng.choice((
        {"type": "Replace", "pattern": pattern, "content": rng.choice(("", "a", "ab" * 1000))},
        {"type": "Prepend", "prepend": rng.choice(("", "▁", "a" * 10_000))}, {"type": "Lowercase"},
        {"type": "Precompiled", "precompiled_charsmap": rng.choice(("", "AAAA", "/////w==", "tAIAAIQA"))},
        {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "NFKD"}, {"type": "ByteLevel"},
        {"type": "Sequence", "normalizers": [{"type": "NFC"}] * rng.choice((0, 1, 300))}, {"type": "Nmt"},
    ))  # fmt: skip


def _finishes(rng: Random) -> Any:
    piece = rng.choice(
        ({"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 2**31}})
    )
    ids = rng.choice(([], [0], [2**32], [286] * 500, [-1]))
    return rng.choice((
        {"type": "TemplateProcessing", "single": [piece] * rng.choice((0, 1, 3)), "pair": [piece],
         "special_tokens": {"[X]": {"id": "[X]", "ids": ids, "tokens": ["[X]"] * rng.choice((0, 1, 500))}}},
        {"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": True},
        {"type": "BertProcessing", "sep": ["a", 2**31], "cls": ["b", 0]}, {"type": "Sequence", "processors": []}, BYTE_LEVEL,
    ))  # fmt: skip


def _decodes(rng: Random) -> Any:
    return rng.choice((
        {"type": "Sequence", "decoders": [BYTE_LEVEL]}, {"type": "Sequence", "decoders": []}, {"type": "WordPiece", "prefix": "##", "cleanup": True},
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "CTC", "pad_token": "", "word_delimiter_token": "|", "cleanup": True}, {"type": "Strip", "content": "a", "start": 2**31, "stop": 0}, None,
    ))  # fmt: skip


def _added(rng: Random) -> Any:
    flags = {
        name: rng.random() < 0.5
        for name in ("single_word", "lstrip", "rstrip", "normalized", "special")
    }
    text = rng.choice(
        ("<|x|>", "", " ", "Once", "o", "\n", "日本", json_damage.ESCAPES, "a" * 5000, "\0")
    )
    token = {
        "id": rng.choice((0, 1, 286, 287, 288, 289, 10_000, 2**31, 2**32 - 1, 2**32, -1)),
        "content": text,
        **flags,
    }
    return [token] * rng.choice((0, 1, 1, 2, 500))


def _models(rng: Random) -> Any:
    vocab = rng.choice(({}, {"a": 0}, {"a": 2**32 - 1, "b": 0}, {"a": 0, "b": 0}))
    return rng.choice((
        {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab},
        {"type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]"}, {"type": "Unigram", "unk_id": rng.choice((0, 5, None)), "vocab": [["a", -1.0]], "byte_fallback": True},
        {"type": "BPE", "vocab": vocab, "merges": rng.choice(([], ["a b"], [["a", "b"]], [["a"]], [[]], ["a b c"]))},
    ))  # fmt: skip


def _pads(rng: Random) -> Any:
    return {"strategy": rng.choice(("BatchLongest", {"Fixed": rng.choice((0, 8, 10**6, 10**10, 2**63))})), "direction": rng.choice(("Left", "Right")),
            "pad_to_multiple_of": rng.choice((None, 0, 8, 2**40)), "pad_id": rng.choice((0, 286, 2**31)), "pad_type_id": 0, "pad_token": "<|x|>"}  # fmt: skip


def _truncates(rng: Random) -> Any:
    return {"direction": rng.choice(("Left", "Right")), "max_length": rng.choice((0, 1, 2, 512, 2**63)),
            "strategy": rng.choice(("LongestFirst", "OnlyFirst", "OnlySecond")), "stride": rng.choice((0, 1, 2, 10**6))}  # fmt: skip


PARTS = {
    "pre_tokenizer": _splits, "normalizer": _normalizes, "post_processor": _finishes, "decoder": _decodes,
    "added_tokens": _added, "model": _models, "padding": _pads, "truncation": _truncates,
}  # fmt: skip


def part(rng: Random, content: bytes) -> Damaged:
    value = json_damage.read(content)
    name = rng.choice((*PARTS, "pre_tokenizer", "added_tokens"))
    value[name] = PARTS[name](rng)
    return Damaged(json_damage.write(value), f"{name} = {value[name]!r}"[:160])


def vocabulary(rng: Random, content: bytes) -> Damaged:
    """Rename, move, duplicate or remove entries of vocab.json or tokenizer.json."""
    value = json_damage.read(content)
    vocab = value["model"]["vocab"] if "model" in value else value
    token = rng.choice(list(vocab))
    new = rng.choice(("日" + token, token + " ", "", "\x1b[31m", "a" * 5000, token * 2, "\0"))
    moved = rng.choice((-1, 0, len(vocab), 2**31, 2**32 - 1, 2**32, 2**63, 1.5, None, "1"))
    what = rng.choice(("renamed", "moved", "doubled", "left out", "cut to a few", "all outside"))
    if what == "renamed":
        vocab[new] = vocab.pop(token)
    elif what == "moved":
        vocab[token] = moved
    elif what == "doubled":
        vocab[new] = vocab[token]
    elif what == "left out":
        del vocab[token]
    elif what == "cut to a few":
        for other in list(vocab)[rng.randrange(40) :]:
            del vocab[other]
    else:
        for other in list(vocab):
            vocab["日" + other] = vocab.pop(other)
    return Damaged(json_damage.write(value), f"{token!r} {what}, {new[:9]!r} or {moved}")


def merges(rng: Random, content: bytes) -> Damaged:
    lines = content.decode().split("\n")
    number = rng.randrange(len(lines))
    line = lines[number]
    lines[number] = rng.choice(
        (
            "",
            "a",
            "a b c",
            " ",
            "日 本",
            line[::-1],
            line + " ",
            line * 2,
            "\0 \0",
            "#version",
            "\x1b[31m x",
            "x" * 100_000,
        )
    )
    if rng.random() < 0.3:
        rng.shuffle(lines)
    ends = rng.choice(("\n", "\n", "\r\n", "\r", "\u2028"))
    return Damaged(
        ends.join(lines).encode(), f"line {number} {lines[number][:20]!r}, ends {ends!r}"
    )


TOKENIZER = (part, part, part, vocabulary)
VOCABULARY = (vocabulary, vocabulary, vocabulary)
MERGES = (merges, merges, merges, merges)
