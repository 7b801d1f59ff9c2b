"""Penalties on what the text holds already."""

from collections.abc import Iterator, Sequence

import numpy as np

from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.sessions.protocol import Logits


def repetition_penalty(penalty: float, window: int = 0) -> LogitsProcessor:
    """Make every id of the text less probable if ``penalty`` > 1, more probable if < 1.

    As in transformers: the prompt counts, an id counts once however often it occurs, negative logits are
    multiplied and the others divided (Keskar et al. 2019, arXiv:1909.05858, divide all).

    >>> repetition_penalty(2.0)([0, 1, 1], np.array([4, -4, 4], np.float32))
    array([ 2., -8.,  4.], dtype=float32)

    Args:
        penalty: above 0.
        window: how many of the last tokens count; 0: all of the text.
    """

    def penalize(ids: Sequence[int], logits: Logits) -> Logits:
        recent = ids[-window:] if window else ids
        seen, changed = np.fromiter(set(recent), np.int64), logits.copy()
        values = logits[seen]
        with np.errstate(divide="ignore", over="ignore"):  # the sampler refuses what is not finite
            changed[seen] = np.where(values < 0, values * penalty, values / penalty)
        return changed

    return penalize


def presence_penalty(penalty: float, prompt_length: int) -> LogitsProcessor:
    """Subtract ``penalty`` from the logit of every generated id, as OpenAI's completions API; the prompt is free.

    >>> presence_penalty(0.5, prompt_length=1)([0, 1, 1], np.zeros(3, np.float32))
    array([ 0. , -0.5,  0. ], dtype=float32)
    """

    def penalize(ids: Sequence[int], logits: Logits) -> Logits:
        changed = logits.copy()
        changed[np.fromiter(set(ids[prompt_length:]), np.int64)] -= penalty
        return changed

    return penalize


def frequency_penalty(penalty: float, prompt_length: int) -> LogitsProcessor:
    """Subtract ``penalty`` from a logit for each time that its id was generated, as OpenAI's completions API.

    >>> frequency_penalty(0.5, prompt_length=1)([0, 1, 1], np.zeros(3, np.float32))
    array([ 0., -1.,  0.], dtype=float32)
    """

    def penalize(ids: Sequence[int], logits: Logits) -> Logits:
        generated = np.array(ids[prompt_length:], np.int64)
        seen, counts = np.unique(generated, return_counts=True)
        changed = logits.copy()
        changed[seen] -= (penalty * counts).astype(logits.dtype)
        return changed

    return penalize


def no_repeat_ngram(size: int) -> LogitsProcessor:
    """Exclude every id that would complete an n-gram of ``size`` ids that the text already holds.

    >>> no_repeat_ngram(2)([1, 2, 0, 1], np.zeros(4, np.float32))
    array([  0.,   0., -inf,   0.], dtype=float32)

    Args:
        size: at least 1. The prompt counts.
    """

    def exclude(ids: Sequence[int], logits: Logits) -> Logits:
        text, changed = list(ids), logits.copy()
        for token_id in set(text) if size == 1 else _followers(text, size):
            changed[token_id] = -np.inf
        return changed

    return exclude


def _followers(text: list[int], size: int) -> Iterator[int]:
    """Ids that follow earlier occurrences of the last ``size`` - 1 ids."""
    start = text[len(text) - size + 1 :]
    for end in positions(text, start[-1], size - 2, len(text) - 1) if len(text) >= size else ():
        if text[end - size + 2 : end + 1] == start:
            yield text[end + 1]


def positions(text: Sequence[int], token_id: int, first: int, end: int) -> Iterator[int]:
    """Where ``token_id`` occurs in ``text[first:end]``, ascending; a search in C, since most ids are others.

    >>> list(positions([7, 1, 7, 7], 7, 1, 4))
    [2, 3]
    """
    try:
        while True:
            first = text.index(token_id, first, end) + 1
            yield first - 1
    except ValueError:
        return
