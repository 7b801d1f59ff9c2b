"""Drafters propose the next tokens cheaply; the model then checks all draft tokens in one step."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Protocol

from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.context import Context
from gpt2xl.sessions.protocol import Session

LONGEST, SHORTEST = 4, 2  # n-grams that prompt lookup matches


class Drafter(Protocol):
    """Something that proposes draft tokens."""

    def draft(self, ids: Sequence[int], count: int, chain: Chain) -> list[int]:
        """At most ``count`` ids that may follow ``ids``; none where it has no proposal.

        Args:
            ids: the text so far; it only grows from call to call.
            count: number of draft tokens, at most.
            chain: will choose from the model's logits; a drafter that draws from it uses a copy.
        """


class PromptLookup:
    """Proposes what followed the last n-gram where it occurred before (Saxena 2023, prompt lookup decoding)."""

    def __init__(self) -> None:
        self._seen = 0
        self._ends: dict[tuple[int, ...], int] = {}  # n-gram -> where it last ended

    def draft(self, ids: Sequence[int], count: int, chain: Chain) -> list[int]:
        """See ``Drafter.draft``."""
        self._remember(ids)
        for size in range(LONGEST, SHORTEST - 1, -1):
            end = self._ends.get(tuple(ids[-size:]))
            if end is not None:
                return list(ids[end : end + count])
        return []

    def _remember(self, ids: Sequence[int]) -> None:
        """Index every n-gram that something follows."""
        for end in range(max(self._seen, SHORTEST), len(ids)):
            for size in range(SHORTEST, min(LONGEST, end) + 1):
                self._ends[tuple(ids[end - size : end])] = end
        self._seen = len(ids)


class DraftModel:
    """A smaller model with the same vocabulary.

    It draws with a copy of the chain, or of ``chain.draft``, random numbers included: where both models agree on
    the distribution they sample the same token.
    """

    def __init__(self, session: Session) -> None:
        self._context = Context(session)

    def draft(self, ids: Sequence[int], count: int, chain: Chain) -> list[int]:
        """See ``Drafter.draft``."""
        text, own = list(ids), deepcopy(chain.draft or chain)
        count = min(count, self._context.session.n_positions - len(text) + 1)
        for _ in range(count):
            logits = self._context.advance(text, needed_logits=own.needed_logits)
            text.append(own.choose(text, logits[-1]))
        return text[len(ids) :]
