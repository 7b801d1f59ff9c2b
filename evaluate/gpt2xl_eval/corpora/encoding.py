"""Token ids of texts that may be large, or not be text."""

import re
from array import array
from collections.abc import Iterator

from gpt2xl import RequestError, Tokenizer
from gpt2xl_eval.options import Prefix

PART_CHARACTERS = 1 << 18
"""The tokenizer keeps some 300 bytes for each token of what it is given at once."""
BOUNDARY = re.compile(r"(?<=\S) ")
PREFIXES = {"endoftext": "<|endoftext|>", "newline": "\n", "none": ""}


def encode_text(tokenizer: Tokenizer, text: str) -> "array[int]":
    """The ids of ``text``; special tokens in it are ordinary text."""
    ids = array("l")
    for part in _parts(tokenizer, text):
        ids.extend(tokenizer.encode(part, parse_special=False, add_special_tokens=False))
    return ids


def encode_bytes(tokenizer: Tokenizer, content: bytes) -> "array[int]":
    """The ids of what should be UTF-8; a byte that is not becomes a token of one byte.

    Data sets that are cut by bytes begin or end within a character.

    Raises:
        RequestError: there is no token for such a byte.
    """
    ids = array("l")
    while content:
        try:
            ids.extend(encode_text(tokenizer, content.decode("utf-8")))
            break
        except UnicodeDecodeError as reason:
            ids.extend(encode_text(tokenizer, content[: reason.start].decode("utf-8")))
            ids.append(_byte_id(tokenizer, content[reason.start : reason.start + 1]))
            content = content[reason.start + 1 :]
    return ids


def prefix_ids(tokenizer: Tokenizer, prefix: Prefix) -> list[int]:
    """What is put before each document.

    Raises:
        RequestError: the vocabulary has no such token.
    """
    ids = tokenizer.encode(PREFIXES[prefix], parse_special=True, add_special_tokens=False)
    if len(ids) > 1:
        raise RequestError(
            f"the vocabulary has no token {PREFIXES[prefix]!r}; choose another prefix than {prefix}."
        )
    return ids


def _parts(tokenizer: Tokenizer, text: str) -> Iterator[str]:
    """Parts whose ids one after the other are those of the text: cut before a space that follows no white space.

    GPT-2's tokenizer never merges over such a place. Added tokens may hold one, or white space around them.
    """
    start = 0
    has_spaces = any(re.search(r"\s", token) for token in tokenizer.added_tokens)
    if not has_spaces and not tokenizer.strips_spaces:
        while cut := BOUNDARY.search(text, start + PART_CHARACTERS):
            yield text[start : cut.start()]
            start = cut.start()
    yield text[start:]


def _byte_id(tokenizer: Tokenizer, byte: bytes) -> int:
    for token_id in range(tokenizer.vocab_size):
        if token_id in tokenizer and tokenizer.token_bytes(token_id) == byte:
            return token_id
    raise RequestError(f"the vocabulary has no token for byte 0x{byte[0]:02x}.")
