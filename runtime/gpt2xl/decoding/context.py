"""A session, a cache and what it was fed: a text that begins alike is not fed again."""

from collections.abc import Sequence
from itertools import takewhile

import numpy as np
import numpy.typing as npt

from gpt2xl.sessions.exactness import reusable_prefix
from gpt2xl.sessions.logits import StepLogits, TopLogits
from gpt2xl.sessions.protocol import Session


class Context:
    """One text on its way through a session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.cache = session.new_cache(capacity=1)
        self.ids: list[int] = []
        """What the cache holds."""
        self.is_loaded = False
        """Whether it holds what `restore` brought, and nothing else."""
        self.top_k = 0
        """Largest logits that are of use; 0 for all."""
        self._prompt_length = 0

    def begin(self, ids: Sequence[int], new: int = 0) -> None:
        """Make ready for the prompt ``ids``: of the last text, only what this one would give itself stays.

        What was generated came from short steps; where those round in another way than long ones, all of
        a prompt, or none, has to come from long steps.

        Args:
            ids: the prompt.
            new: ids that will follow, at most: the cache is sized once.
        """
        long_step = self.session.long_step_from
        if long_step > 1 and not self.is_loaded:
            shared = common_prefix(self.ids, ids)
            self.truncate(reusable_prefix(shared, self._prompt_length, len(ids), long_step))
        # How what was restored was fed, and what little may follow it, is not known to the next text.
        self._prompt_length = 0 if self.is_loaded else len(ids)
        self.cache.reserve(len(ids) + new)

    def advance(self, ids: Sequence[int], keep: int = 1) -> StepLogits | TopLogits:
        """Make ``ids`` the text, feeding what the cache does not hold yet.

        Args:
            ids: the whole text, at most n_positions.
            keep: how many positions' logits are wanted.

        Returns:
            Logits after each of the last ``keep`` ids, [keep, vocab_size]; maybe only the `top_k` largest.
        """
        known = min(common_prefix(self.ids, ids), len(ids) - keep)
        self.truncate(known)  # nothing more is known should the session fail
        new = np.array([ids[known:]], np.int64)
        if keep == 1:
            logits = self.session.forward_top(new, self.cache, self.top_k)[0]
        else:
            logits = self.session.forward(new, self.cache, keep=keep)[0]
        self.ids = list(ids)
        return logits

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` ids."""
        self.cache.truncate(length)
        self.ids = self.ids[:length]

    def restore(self, ids: list[int], keys_and_values: Sequence[npt.NDArray[np.generic]]) -> None:
        """Hold ``ids`` and what they once gave; ValueError when that does not fit."""
        self.cache.fill(keys_and_values)
        if self.cache.length != len(ids):
            raise ValueError(f"{len(ids)} ids, but keys and values of {self.cache.length}")
        self.ids = ids
        self.is_loaded = True


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many ids both begin with.

    >>> common_prefix([1, 2, 3], [1, 2, 4, 5])
    2
    """
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length
    pairs = zip(first, second, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
