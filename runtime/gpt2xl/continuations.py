"""How probable texts are as continuations of others: what evaluations are made of."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpt2xl.decoding.context import Context
from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl.sessions.protocol import PositionLogits, Session


@dataclass(frozen=True)
class Continuation:
    """Token ids to score after others.

    >>> Continuation([464, 5822], [373]).ids
    [373]
    """

    context: Sequence[int]
    """One id at least."""
    ids: Sequence[int]
    """One at least; with ``context`` at most n_positions."""


@dataclass(frozen=True)
class ContinuationScore:
    """The log-probabilities of a continuation."""

    logprobs: npt.NDArray[np.float64]
    """Of each id, [len(ids)], in nats."""
    top_ids: npt.NDArray[np.int64]
    """The most probable ids at each position, [len(ids), top], the most probable first."""


def score_continuations(
    session: Session, continuations: Iterable[Continuation], top: int, rows: int
) -> Iterator[ContinuationScore]:
    """Score each of ``continuations``, in their order."""
    del rows
    for each in continuations:
        kept = list[PositionLogits]()
        Context(session).score([*each.context, *each.ids][:-1], kept.append)
        values = log_softmax(np.concatenate(kept)[-len(each.ids) :])
        order = np.argsort(-values, axis=-1, kind="stable")[:, :top]
        yield ContinuationScore(values[np.arange(len(each.ids)), each.ids], order)
