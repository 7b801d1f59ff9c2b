"""DRY ("don't repeat yourself"): a penalty on ids that continue a repeated sequence, growing with its length."""

import math
from collections.abc import Collection, Sequence

import numpy as np

from gpt2xl.processors.penalties import positions
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.sessions.protocol import Logits

LOG_OF_LARGEST_FLOAT32 = 88.7228391  # bounds the exponent, as in llama.cpp


def dry(
    multiplier: float,
    base: float = 1.75,
    allowed_length: int = 2,
    breakers: Collection[int] = (),
    window: int = 0,
) -> LogitsProcessor:
    """Penalize ids that continue a repetition (p-e-w, text-generation-webui pull request 5677).

    As in llama.cpp: where the last n ids of the text occurred before, the id that followed them there loses
    ``multiplier * base ** (n - allowed_length)``, with the largest n. The prompt counts. Repetitions of less than
    ``allowed_length`` ids are free. Unlike there, a breaker is a single id.

    >>> dry(1.0, base=2.0)([1, 2, 3, 4, 1, 2, 3], np.zeros(6, np.float32))
    array([ 0.,  0.,  0.,  0., -2.,  0.], dtype=float32)

    Args:
        multiplier: 0 is no penalty.
        base: at least 1.
        allowed_length: at least 1.
        breakers: ids that end a repetition: no counted sequence holds one, and they are not penalized.
        window: how many of the last tokens are searched; 0: all of the text.
    """
    ends = frozenset(breakers)
    largest_exponent = int(LOG_OF_LARGEST_FLOAT32 / math.log(base)) if base > 1 else 0

    def penalize(ids: Sequence[int], logits: Logits) -> Logits:
        changed = logits.copy()
        recent = list(ids[-window:] if window else ids)
        lengths = _repeated_lengths(recent, allowed_length, ends)
        with np.errstate(over="ignore"):
            for token_id, length in lengths.items():
                exponent = min(length - allowed_length, largest_exponent)
                changed[token_id] -= np.float32(multiplier * base**exponent)
        return changed

    return penalize


def _repeated_lengths(
    text: list[int], allowed_length: int, breakers: frozenset[int]
) -> dict[int, int]:
    """The ids that would continue a repetition, with the length of the longest one that each continues."""
    backwards = text[::-1]
    limit = next((i for i, token_id in enumerate(backwards) if token_id in breakers), len(text))
    found = dict[int, int]()
    if limit < allowed_length or len(text) <= allowed_length:
        return found
    for position, length in _common_prefixes(backwards).items():
        token_id, length = backwards[position - 1], min(length, limit)
        if length >= allowed_length and token_id not in breakers:
            found[token_id] = max(length, found.get(token_id, 0))
    return found


def _common_prefixes(text: list[int]) -> dict[int, int]:
    """For each later position, how many ids from there on are those that ``text`` begins with; zeros are left out.

    The Z algorithm (Gusfield 1997, Algorithms on Strings, 1.4), linear in the length: what is known of the rightmost
    match so far, which begins at ``start`` and ends before ``end``, is not compared again.
    """
    lengths = dict[int, int]()
    start = end = 0
    for position in positions(text, text[0], 1, len(text)):
        known = lengths.get(position - start, 0) if position < end else 0
        length = min(known, end - position) if position < end else 0
        if position + length >= end:
            while position + length < len(text) and text[length] == text[position + length]:
                length += 1
            start, end = position, position + length
        lengths[position] = length
    return lengths
