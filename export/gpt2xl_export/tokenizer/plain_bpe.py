"""Byte-level BPE in plain Python: an independent implementation to check the tokenizers library.

It works on the content of a tokenizer.json. The tokenizers library normalizes text and splits it into
words. Added tokens, merges, ids, tokens around a text and decoding are computed here. Sources:
encoder.py of openai/gpt-2 for the merges; added_vocabulary.rs and models/bpe/model.rs of tokenizers for
the rest.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from math import inf
from typing import Any

from gpt2xl.text.tokenizer import byte_alphabet
from gpt2xl.text.tokenizer_json import parse

# Unicode's White_Space; Python's \s also has U+001C to U+001F.
SPACE = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
Piece = tuple[str, int | None]
"""A part of the text, and its id if it is an added token."""
AddedTokens = Mapping[str, Mapping[str, Any]]
"""By text, with the flags that tokenizer.json lists."""


class PlainTokenizer:
    """The tokenizer of a tokenizer.json, computed without the library as far as is feasible."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        model = content["model"]
        self._vocab: dict[str, int] = model["vocab"]
        pairs = [tuple(m.split(" ") if isinstance(m, str) else m) for m in model["merges"]]
        self._ranks = {pair: rank for rank, pair in enumerate(pairs)}
        self._model = model
        self._added = {token["content"]: token for token in content["added_tokens"]}
        empty = {**content, "added_tokens": [], "model": {"type": "BPE", "vocab": {}, "merges": []}}
        self._library = parse(json.dumps(empty))
        last = self._library.post_processor
        self._around = _around(None if last is None else json.loads(last.__getstate__()))
        self._special = frozenset(t["id"] for t in self._added.values() if t["special"])
        self._matchers = {special: self._compile(special) for special in (True, False)}
        self._bytes = {i: _bytes(token) for token, i in self._vocab.items()}
        self._bytes |= {t["id"]: content.encode() for content, t in self._added.items()}

    def encode(self, text: str, *, parse_special: bool = True) -> list[int]:
        """The ids of ``text``, with the tokens that the tokenizer puts around it."""
        before, after = self._around
        return [*before, *self._inner(text, parse_special), *after]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``."""
        return b"".join(map(self._bytes.__getitem__, ids)).decode("utf-8", "replace")

    def _inner(self, text: str, parse_special: bool) -> Iterator[int]:
        special = frozenset() if parse_special else self._special
        for part, token_id in self._split(text, parse_special):
            for found in [token_id] if token_id is not None else self._ordinary(part):
                yield from self._spelled(found) if found in special else [found]

    def _compile(self, parse_special: bool) -> tuple["_Matcher", "_Matcher"]:
        """Matchers of the added tokens in raw text and in normalized text."""
        tokens = [t for t in self._added.values() if parse_special or not t["special"]]
        raw = {t["content"]: t for t in tokens if not t["normalized"]}
        normal = {self._normalized(t["content"]): t for t in tokens if t["normalized"]}
        return _Matcher(raw), _Matcher(normal)

    def _split(self, text: str, parse_special: bool) -> Iterator[Piece]:
        """Split at added tokens: first in the raw text, then in the normalized rest."""
        raw, normal = self._matchers[parse_special]
        for part, token_id in raw.split(text):
            if token_id is not None:
                yield part, token_id
            else:
                yield from normal.split(self._normalized(part))

    def _normalized(self, text: str) -> str:
        normalizer = self._library.normalizer
        return str(normalizer.normalize_str(text)) if normalizer is not None else text

    def _ordinary(self, text: str) -> Iterator[int]:
        for word, _ in self._library.pre_tokenizer.pre_tokenize_str(text):
            if self._model.get("ignore_merges") and word in self._vocab:
                yield self._vocab[word]
            else:
                yield from self._word(word)

    def _word(self, word: str) -> Iterator[int]:
        """The ids of a word; the pair with the lowest rank is merged first."""
        parts = list(self._symbols(word))
        while len(parts) > 1:
            pairs = set(pairwise(parts))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, inf))
            if best not in self._ranks:
                break
            merged: list[str] = []
            for part in parts:
                if merged and (merged[-1], part) == best:
                    merged[-1] += part
                else:
                    merged.append(part)
            parts = merged
        yield from (self._vocab[part] for part in parts)

    def _symbols(self, word: str) -> Iterator[str]:
        unknown, fuse = self._model.get("unk_token"), self._model.get("fuse_unk")
        before_unknown = False
        for character in word:
            fallback = [f"<0x{byte:02X}>" for byte in character.encode()]
            if character in self._vocab:
                yield character
            elif self._model.get("byte_fallback") and all(f in self._vocab for f in fallback):
                yield from fallback
            elif unknown is not None:
                if not (fuse and before_unknown):
                    yield unknown
                before_unknown = True
                continue
            before_unknown = False

    def _spelled(self, token_id: int) -> list[int]:
        """The bytes of a special token as ids, or its own id if the vocabulary lacks one of them."""
        characters = {byte: character for character, byte in byte_alphabet().items()}
        ids = [self._vocab.get(characters[byte]) for byte in self._bytes[token_id]]
        return [token_id] if None in ids else [i for i in ids if i is not None]


class _Matcher:
    """Finds added tokens in a text: at each place the longest, from left to right."""

    def __init__(self, tokens: AddedTokens) -> None:
        self._tokens = {spelling: token for spelling, token in tokens.items() if spelling}
        self._lengths: dict[str, list[int]] = {}  # by first character, longest first
        for first, length in sorted({(t[0], len(t)) for t in self._tokens}, reverse=True):
            self._lengths.setdefault(first, []).append(length)

    def _spans(self, text: str) -> Iterator[tuple[int, int]]:
        at = 0
        while at < len(text):
            ends = (at + length for length in self._lengths.get(text[at], ()))
            end = next((end for end in ends if text[at:end] in self._tokens), None)
            if end is not None:
                yield at, end
            at = at + 1 if end is None else end

    def split(self, text: str) -> Iterator[Piece]:
        """Cut ``text`` at every token; a token includes blanks beside it if its flags say so."""
        done = 0
        for start, end in self._spans(text):
            token = self._tokens[text[start:end]]
            if token["single_word"] and (_is_word(text[:start][-1:]) or _is_word(text[end:][:1])):
                continue
            if token["lstrip"]:
                start = max(done, len(re.sub(f"[{SPACE}]+$", "", text[:start])))
            if token["rstrip"]:
                end = len(text) - len(re.sub(f"^[{SPACE}]+", "", text[end:]))
            if done < start:
                yield text[done:start], None
            yield text[start:end], token["id"]
            done = end
        if done < len(text) or not self._tokens:
            yield text[done:], None


def _is_word(character: str) -> bool:
    """Whether it is a word character for a regular expression: letter, mark, digit, connector, joiner."""
    if not character or character in "\u200c\u200d":
        return bool(character)
    category = unicodedata.category(character)
    return category[0] in "LM" or category in ("Nd", "Nl", "Pc")


def _around(step: Mapping[str, Any] | None) -> tuple[list[int], list[int]]:
    """The ids that a post-processor puts (before, after) a text."""
    kind = step["type"] if step else None
    if step is None or kind == "ByteLevel":
        return [], []
    if kind == "Sequence":
        found = [_around(inner) for inner in step["processors"]]
        return [i for f in reversed(found) for i in f[0]], [i for f in found for i in f[1]]
    if kind in ("BertProcessing", "RobertaProcessing"):
        return [step["cls"][1]], [step["sep"][1]]
    before: list[int] = []
    after: list[int] = []
    ids = before
    for piece in step["single"]:
        if "Sequence" in piece:
            ids = after
        else:
            ids += step["special_tokens"][piece["SpecialToken"]["id"]]["ids"]
    return before, after


def _bytes(token: str) -> bytes:
    alphabet = byte_alphabet()
    inside = all(character in alphabet for character in token)
    return bytes(alphabet[character] for character in token) if inside else token.encode()
