"""A text on its way through a session: its KV cache and the ids that the cache holds."""

from collections.abc import Callable, Sequence
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from gpt2xl.decoding.sliding import Slide
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.prefill import cut_into_chunks
from gpt2xl.sessions.protocol import Cache, PositionLogits, Session, StepLogits, TopLogits


class Context:
    """One row of a KV cache.

    Args:
        session: what computes the logits.
        cancellation: ends a step that is under way.
        cache: an earlier one whose content or memory to use again.
        ids: what ``cache`` holds.
    """

    def __init__(
        self,
        session: Session,
        cancellation: Cancellation | None = None,
        cache: Cache | None = None,
        ids: Sequence[int] = (),
    ) -> None:
        self.session = session
        self.cache = cache or session.new_cache(capacity=1)
        self.ids = list(ids)
        """The ids whose keys and values the cache holds."""
        self.slide: Slide | None = None
        """For a text that may exceed the context."""
        self._cancellation = cancellation

    def advance(
        self, ids: Sequence[int], keep: int = 1, needed_logits: int = 0
    ) -> PositionLogits | TopLogits:
        """Make ``ids`` the text, feeding only what the cache does not hold yet.

        Args:
            ids: the whole text, at most n_positions unless there is a `slide`.
            keep: number of last positions whose logits are wanted.
            needed_logits: with ``keep`` 1, how many of the largest logits suffice; 0 for all.

        Returns:
            Logits after each of the last ``keep`` ids, [keep, vocab_size]; or only the ``needed_logits`` largest.

        Raises:
            Cancelled: the cancellation ended the step.
        """
        if self.slide:
            ids = self._shown(self.slide, ids, keep)
        known = min(common_prefix(self.ids, ids), len(ids) - keep)
        self.truncate(known)  # what is fed from here on is unknown if the session fails
        new = np.array([ids[known:]], np.int64)
        logits: StepLogits | TopLogits
        if keep == 1:
            logits = self.session.forward_top(
                new, self.cache, needed_logits, cancel=self._cancellation
            )
        else:
            logits = self.session.forward(new, self.cache, keep=keep, cancel=self._cancellation)
        self.ids = list(ids)
        return logits[0]

    def room(self, text_length: int) -> int:
        """Draft tokens that fit behind a text of ``text_length`` tokens; none where it is fed again as a prompt."""
        if self.slide is None:
            return self.session.n_positions - text_length
        if self.slide.is_due(text_length):
            return 0  # the steps of a prompt may round differently than those of single tokens
        return self.session.n_positions - self.slide.length(text_length)

    def score(self, ids: Sequence[int], take: Callable[[PositionLogits], object]) -> PositionLogits:
        """Make ``ids`` the text, feeding all of them, and pass on the logits of every position.

        Args:
            ids: the whole text, at most n_positions.
            take: gets [n, vocab_size] of a part of the positions, from the first to the last.

        Returns:
            Logits after the last id, [1, vocab_size].
        """
        self.truncate(0)
        logits = np.empty((0, 0, 0), np.float32)
        # The chunks of `Session.forward`, so that a text does not depend on whether it is scored.
        for chunk in cut_into_chunks(np.array([ids], np.int64), self.session.prefill_chunk):
            logits = self.session.forward(
                chunk, self.cache, keep=chunk.shape[1], cancel=self._cancellation
            )
            take(logits[0])
        self.ids = list(ids)
        return logits[0, -1:]

    def _shown(self, slide: Slide, ids: Sequence[int], keep: int) -> list[int]:
        """What the context holds of ``ids``; all of it is fed again after a slide."""
        dropped, shown = slide.dropped, slide.shown(ids, keep - 1)
        if slide.dropped != dropped:
            self.truncate(0)
        return shown

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` ids."""
        self.cache.truncate(length)
        self.ids = self.ids[:length]

    def restore(self, ids: list[int], keys_and_values: Sequence[npt.NDArray[np.generic]]) -> None:
        """Hold ``ids`` and their keys and values; ValueError when they do not fit."""
        self.cache.fill(keys_and_values)
        if self.cache.length != len(ids):
            raise ValueError(f"{len(ids)} ids, but keys and values of {self.cache.length}")
        self.ids = ids


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest common prefix.

    >>> common_prefix([1, 2, 3], [1, 2, 4, 5])
    2
    """
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
