"""Where words begin and end in a vocabulary of byte-level tokens."""

import codecs
import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from gpt2xl import Tokenizer

JOINERS = "-'\u2019"
WORD = re.compile(rf" ?(?P<word>[^\W_]+(?:[{JOINERS}][^\W_]+)*)(?P<joiner>[{JOINERS}]?)")
"""Letters and digits; a hyphen or an apostrophe between them belongs to the word."""


class Kind(IntEnum):
    """How a token begins."""

    OTHER = 0
    """With white space, punctuation, or as a special token: it ends a word."""
    LETTER = 1
    JOINER = 2
    """With a hyphen or an apostrophe."""
    UNCLEAR = 3
    """With the first bytes of a character only."""
    INSIDE = 4
    """With a byte from within a character."""
    SPACED = 5
    """With a space and a word."""


class State(IntEnum):
    """How the text of a word so far ends."""

    ENDED = 0
    """Something after the word is there, or no word began."""
    OPEN = 1
    """In a letter: the word may go on."""
    JOINED = 2
    """In a hyphen or an apostrophe, which belongs to the word if a letter follows."""
    PARTIAL = 3
    """Within a character."""


FOLLOWING = {
    State.OPEN: (Kind.LETTER, Kind.JOINER, Kind.UNCLEAR),
    State.JOINED: (Kind.LETTER, Kind.UNCLEAR),
    State.PARTIAL: (Kind.INSIDE,),
}
"""The kinds of tokens after which a word may still go on; all others end it."""


@dataclass(frozen=True)
class Reading:
    """What the bytes after a prompt say of its next word."""

    word: str
    """So far; empty where none began."""
    state: State


def read(found: bytes) -> Reading:
    """The word at the beginning of ``found``.

    >>> read(b" self-"), read(b" doctor."), read(b", ")
    (Reading(word='self', state=<State.JOINED: 2>), Reading(word='doctor', state=<State.ENDED: 0>), \
Reading(word='', state=<State.ENDED: 0>))
    """
    text, is_partial = _decoded(found)
    match = WORD.match(text)
    if match is None:
        return Reading("", State.PARTIAL if is_partial and text in ("", " ") else State.ENDED)
    if match.end() < len(text):
        return Reading(match["word"], State.ENDED)
    if is_partial:
        return Reading(match["word"], State.PARTIAL)
    return Reading(match["word"], State.JOINED if match["joiner"] else State.OPEN)


class Vocabulary:
    """The bytes and the kind of every id.

    Args:
        tokenizer: of the model.
        size: ids of the model; those that the tokenizer lacks have no text.
    """

    def __init__(self, tokenizer: Tokenizer, size: int) -> None:
        special = tokenizer.special_ids
        self.tokens = [
            tokenizer.token_bytes(i) if i in tokenizer and i not in special else b""
            for i in range(size)
        ]
        self.kinds: npt.NDArray[np.uint8] = np.array(
            [_kind(token) for token in self.tokens], np.uint8
        )

    def ids(self, *kinds: Kind) -> npt.NDArray[np.int64]:
        """The ids of these kinds."""
        return np.flatnonzero(np.isin(self.kinds, kinds))


def _kind(token: bytes) -> Kind:
    text, is_partial = _decoded(token)
    if token and 0x80 <= token[0] < 0xC0:
        return Kind.INSIDE
    if not text:
        return Kind.UNCLEAR if is_partial else Kind.OTHER
    if text[0] == " ":
        begins = is_partial if text == " " else WORD.match(text) is not None
        return Kind.SPACED if begins else Kind.OTHER
    if WORD.match(text):
        return Kind.LETTER
    return Kind.JOINER if text[0] in JOINERS else Kind.OTHER


@lru_cache(maxsize=4096)
def _decoded(found: bytes) -> tuple[str, bool]:
    """The text of whole characters, and whether a part of one follows."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    text = decoder.decode(found)
    return text, bool(decoder.getstate()[0])
