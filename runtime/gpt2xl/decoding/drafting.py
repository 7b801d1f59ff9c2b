"""Guess the next tokens cheaply; the model then checks all guesses in one step."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Protocol

from gpt2xl.decoding.context import Context
from gpt2xl.decoding.samplers import Sampler, draw
from gpt2xl.sessions.protocol import Session

LONGEST, SHORTEST = 4, 2  # n-grams that prompt lookup knows


class Drafter(Protocol):
    """Something that guesses."""

    def guess(self, ids: Sequence[int], count: int, sampler: Sampler) -> list[int]:
        """At most ``count`` ids that may follow ``ids``; none when there is no idea.

        Args:
            ids: the text so far; from call to call it only grows.
            count: how many at most.
            sampler: what will choose from the model's logits; not to be used up.
        """


class PromptLookup:
    """What followed the last tokens when they occurred before (Saxena 2023, prompt lookup decoding)."""

    def __init__(self) -> None:
        self._seen = 0
        self._ends: dict[tuple[int, ...], int] = {}  # n-gram -> where it last ended

    def guess(self, ids: Sequence[int], count: int, sampler: Sampler) -> list[int]:
        """See ``Drafter.guess``."""
        self._remember(ids)
        for size in range(LONGEST, SHORTEST - 1, -1):
            end = self._ends.get(tuple(ids[-size:]))
            if end is not None:
                return list(ids[end : end + count])
        return []

    def _remember(self, ids: Sequence[int]) -> None:
        """Every n-gram that something follows."""
        for end in range(max(self._seen, SHORTEST), len(ids)):
            for size in range(SHORTEST, min(LONGEST, end) + 1):
                self._ends[tuple(ids[end - size : end])] = end
        self._seen = len(ids)


class DraftModel:
    """A smaller model with the same vocabulary, which draws as the large one will.

    It uses a copy of the sampler, random numbers included, so that where both distributions agree so
    do both draws.
    """

    def __init__(self, session: Session) -> None:
        self._context = Context(session)

    def guess(self, ids: Sequence[int], count: int, sampler: Sampler) -> list[int]:
        """See ``Drafter.guess``."""
        text, own = list(ids), deepcopy(sampler)
        count = min(count, self._context.session.n_positions - len(text) + 1)
        for _ in range(count):
            text.append(draw(own, self._context.advance(text)[-1]))
        return text[len(ids) :]
