"""GPT-2's byte-level BPE: text to ids, ids to text, whole or as a stream."""

import codecs
from collections.abc import Iterable
from functools import cached_property, lru_cache
from pathlib import Path

import tokenizers

from gpt2xl.errors import BundleError, RequestError
from gpt2xl.files import read_text


class Tokenizer:
    """A tokenizer.json.

    >>> tokenizer.encode("hello world")  # doctest: +SKIP
    [31373, 995]
    >>> tokenizer.decode([31373, 995])  # doctest: +SKIP
    'hello world'
    """

    def __init__(self, json: str) -> None:
        """Parse the text of a tokenizer.json; raises ValueError when it is not one."""
        try:
            self._parsing = tokenizers.Tokenizer.from_str(json)
        except Exception as reason:  # tokenizers raises a bare Exception
            raise ValueError(f"not a tokenizer.json: {reason}") from None
        if not isinstance(self._parsing.decoder, tokenizers.decoders.ByteLevel):
            kind = type(self._parsing.decoder).__name__
            raise ValueError(f"not a byte-level BPE as GPT-2 has it: its decoder is {kind}")
        self._json = json

    @classmethod
    def from_file(cls, path: Path) -> "Tokenizer":
        """Read ``path``; raises BundleError when it is missing or corrupt."""
        try:
            return cls(read_text(path, BundleError))
        except ValueError as reason:
            raise BundleError(f"'{path}' cannot be read: {reason}") from None

    def __eq__(self, other: object) -> bool:
        """Whether both give any text the same ids, as far as their files tell."""
        return isinstance(other, Tokenizer) and self._parsing.to_str() == other._parsing.to_str()

    __hash__ = None  # type: ignore[assignment]  # as equality, it would cost a serialization

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return int(self._parsing.get_vocab_size(with_added_tokens=True))

    def __contains__(self, token_id: int) -> bool:
        """Whether the vocabulary has ``token_id``."""
        return 0 <= token_id < 2**32 and self._parsing.id_to_token(token_id) is not None

    def encode(self, text: str, *, parse_special: bool = True) -> list[int]:
        """The ids of ``text``.

        Args:
            text: any text without lone surrogates.
            parse_special: whether ``<|endoftext|>`` in the text is the special token or 13
                ordinary characters.

        Raises:
            RequestError: the text holds a lone surrogate, which no UTF-8 text has.
        """
        tokenizer = self._parsing if parse_special else self._ordinary
        try:
            return list(tokenizer.encode(text, add_special_tokens=False).ids)
        except (UnicodeEncodeError, TypeError):
            raise RequestError(
                "the text is not valid Unicode: it holds a lone surrogate."
            ) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``, special tokens written out; bytes that are not UTF-8 become U+FFFD.

        Raises:
            RequestError: an id that the vocabulary does not have.
        """
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes of one token; an id may be part of a character only."""
        if token_id in self._added:
            return self._added[token_id].encode()
        token = self._parsing.id_to_token(token_id) if 0 <= token_id < 2**32 else None
        if token is None:
            raise RequestError(
                f"id {token_id} is not in the vocabulary of {self.vocab_size} tokens."
            )
        return bytes(map(byte_alphabet().__getitem__, token))

    @cached_property
    def _ordinary(self) -> tokenizers.Tokenizer:
        tokenizer = tokenizers.Tokenizer.from_str(self._json)
        tokenizer.encode_special_tokens = True
        return tokenizer

    @cached_property
    def _added(self) -> dict[int, str]:
        added = self._parsing.get_added_tokens_decoder()
        return {token_id: token.content for token_id, token in added.items()}


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
