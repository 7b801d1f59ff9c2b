"""Processors that put off, force or hasten the end of a text. They need all logits."""

from collections.abc import Iterable, Sequence

import numpy as np

from gpt2xl.processors.biases import excluding
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.token_ids import check_known, token_ids_of
from gpt2xl.sessions.protocol import Logits


def min_length(length: int, eos_token_ids: Iterable[int]) -> LogitsProcessor:
    """Exclude the ids that end a text until it has ``length`` tokens, prompt included.

    >>> [min_length(2, [0])(ids, np.zeros(2, np.float32)).tolist() for ids in ([1], [1, 1])]
    [[-inf, 0.0], [0.0, 0.0]]

    Raises:
        RequestError: an id is negative; when called, an id is beyond the vocabulary.
    """
    return excluding("min_length", eos_token_ids, lambda so_far: so_far < length)


def min_new_tokens(count: int, eos_token_ids: Iterable[int], prompt_length: int) -> LogitsProcessor:
    """Exclude the ids that end a text until ``count`` tokens are generated.

    Raises:
        RequestError: as `min_length`.
    """
    least = prompt_length + count
    return excluding("min_new_tokens", eos_token_ids, lambda so_far: so_far < least)


def forced_eos_token_id(eos_token_ids: Iterable[int], max_length: int) -> LogitsProcessor:
    """Make one of ``eos_token_ids`` the last of the ``max_length`` tokens of a text, prompt included.

    Their logits become 0 there, as in transformers, and all others -inf.

    >>> forced_eos_token_id([0], max_length=3)([1, 1], np.ones(2, np.float32))
    array([  0., -inf], dtype=float32)

    Raises:
        RequestError: as `min_length`.
    """
    eos = token_ids_of("forced_eos_token_id", eos_token_ids)

    def force(ids: Sequence[int], logits: Logits) -> Logits:
        check_known("forced_eos_token_id", eos, logits.size)
        if len(ids) != max_length - 1:
            return logits
        changed = np.full_like(logits, -np.inf)
        changed[eos] = 0
        return changed

    return force


def exponential_decay_length_penalty(
    start: int, factor: float, eos_token_ids: Iterable[int], prompt_length: int
) -> LogitsProcessor:
    """Make the end of the text more probable with each token after the first ``start`` generated ones.

    With n tokens more than that, an eos logit x becomes x + abs(x) * (factor ** n - 1), as in transformers. Unlike
    there, one that is -inf stays so, and none becomes infinite.

    >>> exponential_decay_length_penalty(0, 2.0, [0], prompt_length=1)([1, 1], np.array([-3, 0], np.float32))
    array([0., 0.], dtype=float32)

    Args:
        start: number of generated tokens up to which nothing changes.
        factor: above 1, else the end becomes less probable.
        eos_token_ids: the ids that end a text.
        prompt_length: tokens.

    Raises:
        RequestError: as `min_length`.
    """
    name = "exponential_decay_length_penalty"
    eos, first = token_ids_of(name, eos_token_ids), prompt_length + start
    largest = float(np.finfo(np.float32).max)

    def hasten(ids: Sequence[int], logits: Logits) -> Logits:
        check_known(name, eos, logits.size)
        if len(ids) <= first:
            return logits
        changed, values = logits.copy(), logits[eos].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            grown = values + np.abs(values) * (np.float64(factor) ** (len(ids) - first) - 1)
        changed[eos] = np.where(np.isneginf(values), -np.inf, np.clip(grown, -largest, largest))
        return changed

    return hasten
