"""GPT-2's byte-level BPE: text to ids, ids to text, whole or as a stream."""

import codecs
import json
from collections.abc import Iterable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import tokenizers

from gpt2xl.errors import BundleError, RequestError
from gpt2xl.files.reading import read_text
from gpt2xl.text.tokenizer_json import parse, without_panic

PROBE = "".join(piece * 40 for piece in ("a", " a", "1", " ", "!", "\n", "é", "_"))
"""Runs of every kind: where a regular expression's backtracking explodes, it does so here."""


class Tokenizer:
    """A tokenizer.json: `encode` gives the ids that transformers' `tokenizer(text)` gives.

    One object may be used from several threads.

    >>> tokenizer.encode("hello world")  # doctest: +SKIP
    [31373, 995]
    >>> tokenizer.decode([31373, 995])  # doctest: +SKIP
    'hello world'
    """

    def __init__(self, json: str) -> None:
        """Parse the text of a tokenizer.json; raises ValueError when it is not one."""
        self._parsing = parse(json)
        self._json = json
        try:
            self.encode(PROBE)
        except RequestError as reason:
            raise ValueError(str(reason)) from None

    @classmethod
    def from_file(cls, path: Path) -> "Tokenizer":
        """Read ``path``; raises BundleError when it is missing or corrupt."""
        try:
            return cls(read_text(path, BundleError))
        except ValueError as reason:
            raise BundleError(f"'{path}' cannot be read: {reason}") from None

    def __eq__(self, other: object) -> bool:
        """Whether both give any text the same ids, as far as their files tell."""
        return isinstance(other, Tokenizer) and (
            self._json == other._json or self._meaning == other._meaning
        )

    __hash__ = None  # type: ignore[assignment]  # as equality, it would cost a serialization

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return int(self._parsing.get_vocab_size(with_added_tokens=True))

    @property
    def added_tokens(self) -> list[str]:
        """The spelling of every added token, in the order of ids."""
        return [token.content for _, token in sorted(self._added.items())]

    @property
    def strips_spaces(self) -> bool:
        """Whether an added token takes the white space before it along."""
        return any(token.lstrip for token in self._added.values())

    def __contains__(self, token_id: int) -> bool:
        """Whether the vocabulary has ``token_id``."""
        return 0 <= token_id < 2**32 and self._parsing.id_to_token(token_id) is not None

    def encode(
        self, text: str, *, parse_special: bool = True, add_special_tokens: bool = True
    ) -> list[int]:
        """The ids of ``text``.

        Args:
            text: any text without lone surrogates.
            parse_special: whether ``<|endoftext|>`` in the text is the special token or 13
                ordinary characters. With False no text becomes a special token, unless that token
                is a single byte of the vocabulary, or the vocabulary lacks one of its bytes; added tokens that are not special stay whole,
                as in llama.cpp.
            add_special_tokens: whether to add what the tokenizer puts around a text, such as a
                first ``<s>``; most GPT-2 tokenizers add nothing.

        Raises:
            RequestError: the text holds a lone surrogate, which no UTF-8 text has, or the
                tokenizer fails on it.
        """
        tokenizer = self._parsing if parse_special else self._ordinary
        try:
            encoding = without_panic(
                lambda: tokenizer.encode(text, add_special_tokens=add_special_tokens)
            )
        except (UnicodeEncodeError, TypeError):
            raise RequestError(
                "the text is not valid Unicode: it holds a lone surrogate."
            ) from None
        except Exception as reason:
            raise RequestError(
                f"the tokenizer fails on {text[:20]!r}...: {str(reason)[:200]}. tokenizer.json is damaged, or"
                " its regular expression backtracks without end."
            ) from None
        ids = list(encoding.ids)
        if parse_special or self._special.isdisjoint(ids):
            return ids
        mask = encoding.special_tokens_mask  # 1: put around the text, no part of it
        return [i for j, m in zip(ids, mask, strict=True) for i in ([j] if m else self._plain(j))]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``, special tokens written out; bytes that are not UTF-8 become U+FFFD.

        Raises:
            RequestError: an id that the vocabulary does not have.
        """
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token; an id may be part of a character only."""
        if token_id in self._added:
            return str(self._added[token_id].content).encode()
        token: str | None = None
        if 0 <= token_id < 2**32:
            token = self._parsing.id_to_token(token_id)
        if token is None:
            raise RequestError(
                f"id {token_id} is not in the vocabulary of {self.vocab_size} tokens."
            )
        alphabet = byte_alphabet()
        if any(character not in alphabet for character in token):
            return token.encode()  # as the library's byte-level decoder does
        return bytes(alphabet[character] for character in token)

    def _plain(self, token_id: int) -> list[int]:
        """The single bytes of a special token that merges of ordinary text end in."""
        if token_id not in self._special:
            return [token_id]
        characters = {byte: character for character, byte in byte_alphabet().items()}
        found = [self._parsing.token_to_id(characters[b]) for b in self.token_bytes(token_id)]
        ids = [byte_id for byte_id in found if byte_id is not None]
        return ids if len(ids) == len(found) else [token_id]

    @cached_property
    def _ordinary(self) -> tokenizers.Tokenizer:
        tokenizer = parse(self._json)
        tokenizer.encode_special_tokens = True
        return tokenizer

    @cached_property
    def _added(self) -> dict[int, tokenizers.AddedToken]:
        return dict(self._parsing.get_added_tokens_decoder())

    @cached_property
    def _special(self) -> frozenset[int]:
        return frozenset(token_id for token_id, token in self._added.items() if token.special)

    @cached_property
    def _meaning(self) -> dict[str, Any]:
        """The file's content; padding and truncation are not used."""
        content: dict[str, Any] = json.loads(self._json)
        model = dict(content["model"])
        pairs = (m.split(" ") if isinstance(m, str) else m for m in model.get("merges", ()))
        model["merges"] = list(pairs)
        return content | {"model": model} | dict.fromkeys(("version", "padding", "truncation"))


class StreamDecoder:
    """Decode ids one at a time without ever returning half a character.

    The pieces joined equal ``Tokenizer.decode`` of all ids.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token_id: int) -> str:
        """The text that ``token_id`` completes; empty in the middle of a character."""
        return self._utf8.decode(self._tokenizer.token_bytes(token_id))

    def finish(self) -> str:
        """U+FFFD for a character left unfinished, else nothing."""
        return self._utf8.decode(b"", final=True)


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[str, int]:
    """The printable character that stands for each byte in GPT-2's vocabulary -> that byte.

    Source: `bytes_to_unicode` in openai/gpt-2's encoder.py: printable Latin-1 stands for itself,
    the other 68 bytes, in order, for U+0100 and on.
    """
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in itself]
    return {chr(b): b for b in itself} | {chr(0x100 + i): b for i, b in enumerate(others)}
