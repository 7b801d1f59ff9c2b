"""Run two models over the same windows.

Both are loaded at once: KL needs all log-probabilities of both, which are 200 kB a token for GPT-2's vocabulary. To keep
those of one model would take 58 GB for the WikiText-2 test set; the weights of a second model are a few GB at most.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from gpt2xl import Continuation, Model, RequestError
from gpt2xl.sessions.protocol import Cache, Session
from gpt2xl_eval.comparison.token_scores import Integers, Logits, TokenScores, compared

CHUNK = 256
"""Most positions whose logits are held: of each model 51 MB for GPT-2's vocabulary."""


def check_comparable(first: Model, second: Model) -> None:
    """Raise RequestError where a token id is not the same token in both models."""
    sizes = first.config.vocab_size, second.config.vocab_size
    if sizes[0] != sizes[1]:
        raise RequestError(
            f"only models with the same vocabulary can be compared, but one has {sizes[0]} tokens"
            f" and the other {sizes[1]}."
        )
    if first.tokenizer != second.tokenizer:
        raise RequestError(
            "only models with the same vocabulary can be compared, but their tokenizer.json differ."
        )


def compare(first: Model, second: Model, windows: Sequence[Continuation]) -> Iterator[TokenScores]:
    """Score the tokens of ``windows`` with both models.

    Args:
        first: the reference: KL is that of the second model from it.
        second: another model with the same vocabulary.
        windows: what to score, each at most as long as the shorter context.

    Returns:
        The scores of a few tokens at a time, in their order.

    Raises:
        RequestError: the models have different vocabularies.
    """
    check_comparable(first, second)
    sessions = first.session, second.session
    caches = [session.new_cache(capacity=1) for session in sessions]
    for window in windows:
        yield from _window(sessions, caches, window)


def _window(
    sessions: Sequence[Session], caches: Sequence[Cache], window: Continuation
) -> Iterator[TokenScores]:
    ids = np.array([*window.context, *window.ids], np.int64)
    for cache in caches:
        cache.truncate(0)
    start, end = 0, len(ids) - 1  # the last id is scored and not fed
    while start < end:
        stop = min(start + CHUNK, end)
        keep = min(stop - start, stop + 1 - len(window.context))  # positions before an id to score
        fed = ids[None, start:stop]
        found = [_logits(s, c, fed, keep) for s, c in zip(sessions, caches, strict=True)]
        if keep > 0:
            places = np.arange(stop - keep + 1, stop + 1)
            yield compared(found[0], found[1], ids[places], places)
        start = stop


def _logits(session: Session, cache: Cache, ids: Integers, keep: int) -> Logits:
    """Of the last ``keep`` ids, [keep, vocab_size]."""
    (logits,) = session.forward(ids, cache, keep=max(1, keep))
    return np.asarray(logits)
