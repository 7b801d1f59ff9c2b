"""GPT-2's byte-level BPE: text to ids, ids to text, whole or as a stream."""

import codecs
import json
from collections.abc import Iterable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from gpt2xl.errors import BundleError, RequestError
from gpt2xl.files.reading import read_text
from gpt2xl.text.tokenizer_json import parse, without_panic

PROBE = "".join(piece * 40 for piece in ("a", " a", "1", " ", "!", "\n", "é", "_"))
"""Runs of every kind of character: a regular expression that backtracks without end does so here."""


class Tokenizer:
    """A tokenizer.json: `encode` gives the ids that transformers' `tokenizer(text)` gives.

    One object may be used from several threads.

    >>> ids = tokenizer.encode("Once upon a time")
    >>> tokenizer.decode(ids)
    'Once upon a time'
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
    def from_file(cls, path: str | Path) -> "Tokenizer":
        """Read ``path``; raises BundleError when it is missing or corrupt."""
        try:
            return cls(read_text(Path(path), BundleError))
        except ValueError as reason:
            raise BundleError(f"'{path}' cannot be read: {reason}") from None

    def __eq__(self, other: object) -> bool:
        """Whether both files describe the same tokenizer, so that both give any text the same ids."""
        return isinstance(other, Tokenizer) and (
            self._json == other._json or self._meaning == other._meaning
        )

    __hash__ = None  # type: ignore[assignment]  # it would cost as much as equality, which parses the file

    def __repr__(self) -> str:
        return f"<Tokenizer: {self.vocab_size} ids, {len(self._added)} of them added tokens>"

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return int(self._parsing.get_vocab_size(with_added_tokens=True))

    @property
    def added_tokens(self) -> list[str]:
        """The text of every added token, by ascending id."""
        return [token.content for _, token in sorted(self._added.items())]

    @property
    def strips_spaces(self) -> bool:
        """Whether an added token includes the white space before it."""
        return any(token.lstrip for token in self._added.values())

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """Ids of the special tokens, such as end-of-text."""
        return frozenset(token_id for token_id, token in self._added.items() if token.special)

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
                ordinary characters. With False no text becomes a special token, except where that
                token is a single byte of the vocabulary or the vocabulary lacks one of its bytes.
                Added tokens that are not special are still parsed, as in llama.cpp.
            add_special_tokens: whether to add the tokens that the tokenizer puts around a text,
                such as a first ``<s>``; most GPT-2 tokenizers add none.

        Raises:
            RequestError: the text is not a str, it holds a lone surrogate, which valid UTF-8 cannot
                encode, or the tokenizer fails on it.
        """
        if not isinstance(text, str):
            raise RequestError(f"the text has to be a str, but is {type(text).__name__}.")
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
        if parse_special or self.special_ids.isdisjoint(ids):
            return ids
        mask = encoding.special_tokens_mask  # 1: added around the text
        return [i for j, m in zip(ids, mask, strict=True) for i in ([j] if m else self._plain(j))]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``, special tokens included; bytes that are not UTF-8 become U+FFFD.

        Raises:
            RequestError: an id that the vocabulary does not have.
        """
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token, which may be only a part of a character.

        Raises:
            RequestError: an id that the vocabulary does not have.
        """
        if not isinstance(token_id, int | np.integer):
            raise RequestError(f"a token id is an integer, but this one is {token_id!r}.")
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
        """``token_id`` itself, or the ids of its bytes where merges of ordinary text ended in a special token."""
        if token_id not in self.special_ids:
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
    def _meaning(self) -> dict[str, Any]:
        """The file's content in a normal form, without what changes no ids: padding and truncation."""
        content: dict[str, Any] = json.loads(self._json)
        model = dict(content["model"])
        pairs = (m.split(" ") if isinstance(m, str) else m for m in model.get("merges", ()))
        model["merges"] = list(pairs)
        return content | {"model": model} | dict.fromkeys(("version", "padding", "truncation"))


class StreamDecoder:
    """Decodes ids one at a time and never returns half a character.

    The pieces joined equal ``Tokenizer.decode`` of all ids, without the first ``skipped_bytes`` bytes.

    >>> decoder = StreamDecoder(tokenizer)
    >>> [decoder.add(token_id) for token_id in tokenizer.encode("é")]
    ['', 'é']
    """

    def __init__(self, tokenizer: Tokenizer, skipped_bytes: int = 0) -> None:
        self._tokenizer = tokenizer
        self._left_to_skip = skipped_bytes
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token_id: int) -> str:
        """The text that ``token_id`` completes; empty in the middle of a character."""
        found = self._tokenizer.token_bytes(token_id)
        kept = found[self._left_to_skip :]
        self._left_to_skip -= len(found) - len(kept)
        return self._utf8.decode(kept)

    @property
    def unfinished(self) -> str:
        """What `finish` would return."""
        return "\ufffd" if self._utf8.getstate()[0] else ""

    def finish(self) -> str:
        """U+FFFD where a character is unfinished, else nothing."""
        return self._utf8.decode(b"", final=True)


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[str, int]:
    """Maps the printable character that stands for a byte in GPT-2's vocabulary to that byte.

    Source: `bytes_to_unicode` in openai/gpt-2's encoder.py: printable Latin-1 stands for itself,
    the other 68 bytes, in order, for U+0100 and on.
    """
    itself = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in itself]
    return {chr(b): b for b in itself} | {chr(0x100 + i): b for i, b in enumerate(others)}
