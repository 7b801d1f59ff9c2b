"""How probable texts are as continuations of others: what evaluations are made of."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpt2xl.errors import RequestError, counted
from gpt2xl.processors.ranking import largest
from gpt2xl.scores.continuation_plans import Family, Text, Wanted, batches, blocks, families, merged
from gpt2xl.sessions.exactness import Exactness
from gpt2xl.sessions.prefill import PREFILL_CHUNK, cut_into_chunks
from gpt2xl.sessions.protocol import Cache, PositionLogits, Session

PART_LOGITS = 1 << 17
"""Logits that are worked on at once: they stay in a CPU's cache."""


@dataclass(frozen=True)
class Continuation:
    """Token ids to score after others.

    >>> Continuation([464, 5822], [373]).ids
    [373]
    """

    context: Sequence[int]
    """One id at least."""
    ids: Sequence[int]
    """One at least; with ``context`` at most n_positions + 1, since the last is not read."""


@dataclass(frozen=True)
class ContinuationScore:
    """The log-probabilities of a continuation."""

    logprobs: npt.NDArray[np.float64]
    """Of each id, [len(ids)], in nats."""
    top_ids: npt.NDArray[np.int64]
    """The most probable ids at each position, [len(ids), top], the most probable first."""


def scored(logits: PositionLogits, ids: Sequence[int], top: int) -> ContinuationScore:
    """Score ``ids`` by the logits before each, [len(ids), vocab_size]; off by less than 1e-6 nats.

    >>> scored(np.array([[0.0, 0.0, -np.inf]], np.float32), [1], top=1)
    ContinuationScore(logprobs=array([-0.69314718]), top_ids=array([[0]]))
    """
    count, size = max(1, PART_LOGITS // logits.shape[1]), len(ids)
    logprobs, top_ids = np.empty(size), np.empty((size, top), np.int64)
    chosen, best = logits[np.arange(size), ids], np.empty(size, np.int64)
    for start in range(0, size, count):
        part = slice(start, start + count)
        best[part] = logits[part].argmax(-1)
        highest = np.take_along_axis(logits[part], best[part, None], -1)
        exponentials = logits[part] - highest
        np.exp(exponentials, out=exponentials)
        totals = exponentials.sum(-1, dtype=np.float64)
        logprobs[part] = chosen[part].astype(np.float64) - highest[:, 0] - np.log(totals)
    if top == 1:
        top_ids[:, 0] = best
    elif top:
        top_ids[:] = [largest(position, top) for position in logits]
    return ContinuationScore(logprobs, top_ids)


def score_continuations(
    session: Session,
    exactness: Exactness,
    continuations: Iterable[Continuation],
    top: int,
    rows: int,
) -> Iterator[ContinuationScore]:
    """Score each of ``continuations``, in their order."""
    texts = merged(_text(session, number, each) for number, each in enumerate(continuations))
    scorer = _Scorer(session, exactness, top, rows)
    for block in blocks(families(texts, session.long_step_from or 1)):
        yield from scorer.score(block)


def _text(session: Session, number: int, each: Continuation) -> Text:
    """What to feed for a continuation; RequestError where it does not fit."""
    context, ids = list(each.context), list(each.ids)
    if not context or not ids:
        part = "ids to score" if context else "context: begin it with the id of beginning-of-text"
        raise RequestError(f"continuation {number} has no {part}.")
    whole = [*context, *ids]
    if len(whole) - 1 > session.n_positions:
        raise RequestError(
            f"continuation {number} has {counted(len(context), 'id')} of context and {len(ids)} to score,"
            f" but the model takes {session.n_positions + 1} together: shorten the context."
        )
    if not 0 <= min(whole) <= max(whole) < session.vocab_size:
        wrong = next(i for i in whole if not 0 <= i < session.vocab_size)
        raise RequestError(
            f"continuation {number} holds id {wrong}, but ids are from 0 to {session.vocab_size - 1}."
        )
    return Text(whole[:-1], [Wanted(number, len(context) - 1, ids)])


class _Scorer:
    """Feeds texts, and keeps what is wanted of their logits."""

    def __init__(self, session: Session, exactness: Exactness, top: int, rows: int) -> None:
        self._session, self._exactness = session, exactness
        self._top, self._rows = top, rows
        self._parts = defaultdict[int, list[ContinuationScore]](list)
        """Of each continuation, by its number."""

    def score(self, block: list[Family]) -> Iterator[ContinuationScore]:
        """Score all texts of ``block``; in the order of their numbers."""
        alone = list[Text]()
        for family in block:
            if family.shared and self._exactness.may_share_rows:
                self._score_family(family)
            else:
                alone += family.texts
        rows = self._rows if len(alone) > 1 and self._may_share_rows else 1
        for batch in batches(alone, 0, rows, self._session.long_step_from):
            self._feed(self._new_cache(len(batch), batch), batch, 0)
        for number in sorted(self._parts):
            parts = self._parts.pop(number)
            yield ContinuationScore(
                np.concatenate([part.logprobs for part in parts]),
                np.concatenate([part.top_ids for part in parts]),
            )

    @property
    def _may_share_rows(self) -> bool:
        return self._session.shares_steps and self._exactness.may_share_rows

    def _score_family(self, family: Family) -> None:
        """Feed what all texts share once, then the rest of each."""
        long_step_from, shared = self._session.long_step_from, family.shared
        # Only long steps take several positions of several rows.
        rows = self._rows if long_step_from and self._session.shares_steps else 1
        found = list(batches(family.texts, shared, rows, long_step_from))
        rows = max(map(len, found))
        cache = self._new_cache(rows, family.texts)
        prefix = Text(
            family.texts[0].ids[:shared], [each for text in family.texts for each in text.wanted]
        )
        self._feed(cache.rows(0, 1), [prefix], 0)
        cache.reorder([0] * rows)
        for batch in found:
            cache.truncate(shared)
            used = cache if len(batch) == rows else cache.rows(0, len(batch))  # a view costs time
            self._feed(used, batch, shared)

    def _new_cache(self, rows: int, texts: Iterable[Text]) -> Cache:
        capacity = max(len(text.ids) for text in texts)
        # A view of several rows even for one: with two precisions, a score depends on no text beside it.
        return self._session.new_cache(max(2, rows), capacity=capacity).rows(0, rows)

    def _feed(self, cache: Cache, texts: Sequence[Text], start: int) -> None:
        """Feed the ids of ``texts`` from ``start`` on; shorter rows are padded, which changes nothing before the padding."""
        end = max(len(text.ids) for text in texts)
        ids = np.zeros((len(texts), end - start), np.int64)
        for row, text in zip(ids, texts, strict=True):
            row[: len(text.ids) - start] = text.ids[start:]
        first = min(text.first for text in texts)
        longest = min(self._session.prefill_chunk, PREFILL_CHUNK)  # bounds the memory of logits
        for chunk in cut_into_chunks(ids, longest):
            start += chunk.shape[1]
            keep = min(chunk.shape[1], start - first)
            logits = self._session.forward(chunk, cache, keep=max(1, keep))
            for text, found in zip(texts, logits[:, logits.shape[1] - keep :], strict=True):
                self._take(text, found, start - keep)

    def _take(self, text: Text, logits: PositionLogits, position: int) -> None:
        """Score those of ``logits`` that are wanted, [n, vocab_size], the first of which is of ``position``."""
        for wanted in text.wanted:
            first, end = max(wanted.first, position), min(wanted.end, position + len(logits))
            if first < end:
                ids = wanted.ids[first - wanted.first : end - wanted.first]
                part = logits[first - position : end - position]
                self._parts[wanted.number].append(scored(part, ids, self._top))
