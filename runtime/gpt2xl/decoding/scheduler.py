"""Many texts at once: each a row of one cache, at its own length; one that ends makes room for the next.

The rows share each step, so that weights are read once for all of them. Nothing is padded. Knows
nothing of text.
"""

from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from gpt2xl.decoding.context import Context
from gpt2xl.decoding.loop import Token, finish_reason, generate_tokens
from gpt2xl.decoding.samplers import Sampler, draw
from gpt2xl.sessions.logits import Logits, TopLogits
from gpt2xl.sessions.protocol import Cache, Session


@dataclass(frozen=True)
class Request:
    """One text to generate."""

    ids: Sequence[int]
    """At least one."""
    sampler: Sampler
    """Of its own: each text draws its own random numbers."""
    max_new_tokens: int
    """``len(ids) + max_new_tokens - 1`` is at most n_positions."""
    top_k: int = 0
    """Largest logits that ``sampler`` looks at; 0 for all."""


def generate_batch(
    session: Session,
    requests: Iterable[tuple[int, Request]],
    rows: int,
    eos_token_ids: AbstractSet[int],
) -> Iterator[tuple[int, Token]]:
    """Generate up to ``rows`` texts at a time.

    Args:
        session: with an engine graph rows share steps; else one text follows the other.
        requests: each with its number; read as rows become free.
        rows: at least 1.
        eos_token_ids: what ends a text.

    Yields:
        The number of a request, and its next token.
    """
    if session.shares_steps:
        yield from _Rows(session, rows, eos_token_ids).run(requests)
        return
    for number, request in requests:
        context = Context(session)
        context.top_k = request.top_k
        tokens = generate_tokens(
            context,
            request.ids,
            request.sampler,
            max_new_tokens=request.max_new_tokens,
            eos_token_ids=eos_token_ids,
        )
        yield from ((number, token) for token in tokens)


@dataclass
class _Row:
    number: int
    request: Request
    last: int = -1
    count: int = 0

    def add(self, logits: Logits | TopLogits, eos_token_ids: AbstractSet[int]) -> Token:
        self.last = draw(self.request.sampler, logits)
        self.count += 1
        is_last = self.count == self.request.max_new_tokens
        return Token(self.last, finish_reason(self.last, is_last, eos_token_ids))


class _Rows:
    """The first rows of the cache are in use, without a gap: they can be fed as they lie."""

    def __init__(self, session: Session, rows: int, eos_token_ids: AbstractSet[int]) -> None:
        self._session, self._rows, self._eos = session, rows, eos_token_ids
        self._cache = session.new_cache(rows, capacity=1)
        self._active: list[_Row] = []
        self._view: Cache | None = None

    def run(self, requests: Iterable[tuple[int, Request]]) -> Iterator[tuple[int, Token]]:
        queue = iter(requests)
        while True:
            while len(self._active) < self._rows and (item := next(queue, None)):
                yield self._start(_Row(*item))
            if not self._active:
                return
            yield from self._step()

    def _start(self, row: _Row) -> tuple[int, Token]:
        index, ids = len(self._active), row.request.ids
        self._cache.reserve(len(ids) + row.request.max_new_tokens - 1)
        own = self._cache.rows(index, index + 1)
        own.truncate(0)
        new = np.array([ids], np.int64)
        logits = self._session.forward_top(new, own, row.request.top_k)
        token = row.add(logits[0, -1], self._eos)
        if not token.finish_reason:
            self._active.append(row)
            self._view = None
        return row.number, token

    def _step(self) -> Iterator[tuple[int, Token]]:
        if self._view is None:
            self._view = self._cache.rows(0, len(self._active))
        ids = np.array([[row.last] for row in self._active], np.int64)
        wanted = [row.request.top_k for row in self._active]
        top_k = max(wanted) if all(wanted) else 0
        logits = self._session.forward_top(ids, self._view, top_k)
        tokens = [row.add(logits[at, -1], self._eos) for at, row in enumerate(self._active)]
        numbers = [row.number for row in self._active]
        for index in reversed(range(len(tokens))):
            if tokens[index].finish_reason:
                self._free(index)
        yield from zip(numbers, tokens, strict=True)

    def _free(self, index: int) -> None:
        last = self._active.pop()
        if index < len(self._active):
            self._cache.copy_row(len(self._active), index)
            self._active[index] = last
        self._view = None
