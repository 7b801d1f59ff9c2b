"""Processors that make given ids more or less probable, or impossible. They need all logits."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from gpt2xl.errors import RequestError
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.token_ids import TokenIds, check_known, token_ids_of
from gpt2xl.sessions.protocol import Logits


def logit_bias(biases: Mapping[int, float]) -> LogitsProcessor:
    """Add a bias to the logit of each id, as OpenAI's completions API; -inf excludes the id.

    >>> logit_bias({1: 2.0})([], np.array([0, 1], np.float32))
    array([0., 3.], dtype=float32)

    Raises:
        RequestError: an id is negative; when called, an id is beyond the vocabulary.
    """
    return _sequence_bias("logit_bias", {(token_id,): bias for token_id, bias in biases.items()})


def sequence_bias(biases: Mapping[tuple[int, ...], float]) -> LogitsProcessor:
    """Add the bias of each sequence to the logit of its last id where the text ends with the ids before.

    By the rule of transformers 5.24: a sequence of n ids may begin with the first id of the text (4.57 applies it
    one token later). Biases of several sequences add up.

    >>> sequence_bias({(7, 1): 2.0})([7], np.array([0, 1], np.float32))
    array([0., 3.], dtype=float32)

    Args:
        biases: sequences of at least one id with their biases; -inf excludes the last id.

    Raises:
        RequestError: an id is negative, or a sequence is empty; when called, a last id is beyond the vocabulary.
    """
    return _sequence_bias("sequence_bias", biases)


def bad_words_ids(
    words: Iterable[Sequence[int]], eos_token_ids: Collection[int] = ()
) -> LogitsProcessor:
    """Exclude each last id of ``words`` where it would complete them; words that are one of ``eos_token_ids`` are free.

    >>> bad_words_ids([[7, 1], [0]])([7], np.zeros(3, np.float32))
    array([-inf, -inf,   0.], dtype=float32)

    Raises:
        RequestError: as `sequence_bias`.
    """
    banned = {tuple(word): -np.inf for word in words}
    for token_id in eos_token_ids:
        banned.pop((token_id,), None)
    return _sequence_bias("bad_words_ids", banned)


def _sequence_bias(name: str, biases: Mapping[tuple[int, ...], float]) -> LogitsProcessor:
    for sequence in biases:
        token_ids_of(name, sequence or (-1,))
    singles = token_ids_of(name, [sequence[0] for sequence in biases if len(sequence) == 1])
    values = np.array([bias for sequence, bias in biases.items() if len(sequence) == 1])
    longer = [(list(s[:-1]), int(s[-1]), bias) for s, bias in biases.items() if len(s) > 1]
    last_ids = token_ids_of(name, [sequence[-1] for sequence in biases])

    def add(ids: Sequence[int], logits: Logits) -> Logits:
        check_known(name, last_ids, logits.size)
        changed = logits.copy()
        changed[singles] += values.astype(logits.dtype)
        for start, last, bias in longer:
            # A text that is too short ends with fewer ids than ``start`` has.
            if list(ids[-len(start) :]) == start:
                changed[last] += bias
        return changed

    return add


def suppress_tokens(token_ids: Iterable[int]) -> LogitsProcessor:
    """Exclude these ids.

    >>> suppress_tokens([1])([], np.zeros(2, np.float32))
    array([  0., -inf], dtype=float32)

    Raises:
        RequestError: an id is negative; when called, an id is beyond the vocabulary.
    """
    return excluding("suppress_tokens", token_ids, lambda length: True)


def begin_suppress_tokens(token_ids: Iterable[int], prompt_length: int) -> LogitsProcessor:
    """Exclude these ids as the first one after the prompt.

    Raises:
        RequestError: as `suppress_tokens`.
    """
    return excluding("begin_suppress_tokens", token_ids, lambda length: length == prompt_length)


def allowed_token_ids(token_ids: Iterable[int]) -> LogitsProcessor:
    """Exclude all other ids.

    Where all of these are excluded already there is nothing to choose, which the sampler reports; transformers 5 allows
    them again.

    >>> allowed_token_ids([1])([], np.zeros(2, np.float32))
    array([-inf,   0.], dtype=float32)

    Raises:
        RequestError: as `suppress_tokens`, or there are none.
    """
    allowed = token_ids_of("allowed_token_ids", token_ids)
    if not allowed.size:
        raise RequestError("allowed_token_ids has to name at least one id.")

    def select(ids: Sequence[int], logits: Logits) -> Logits:
        check_known("allowed_token_ids", allowed, logits.size)
        changed = np.full_like(logits, -np.inf)
        changed[allowed] = logits[allowed]
        return changed

    return select


def excluding(
    name: str, token_ids: Iterable[int], applies: Callable[[int], bool]
) -> LogitsProcessor:
    """A processor, of the option ``name``, that excludes ids where ``applies(length of the text)``."""
    excluded: TokenIds = token_ids_of(name, token_ids)

    def exclude(ids: Sequence[int], logits: Logits) -> Logits:
        check_known(name, excluded, logits.size)
        if not applies(len(ids)):
            return logits
        changed = logits.copy()
        changed[excluded] = -np.inf
        return changed

    return exclude
