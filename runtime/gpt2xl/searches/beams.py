"""Texts of equal length that grow together: each is a row of one KV cache."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpt2xl.errors import RequestError
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.protocol import Ids, Session


class Beams:
    """A prompt, and up to ``rows`` continuations of it.

    Args:
        session: computes the logits.
        prompt: at least one id.
        rows: most texts at once.
        max_new_tokens: most tokens of a text after the prompt.
        cancel: ends a step from another thread.

    Raises:
        RequestError: the prompt is empty or longer than the context.
    """

    def __init__(
        self,
        session: Session,
        prompt: Sequence[int],
        rows: int,
        max_new_tokens: int,
        cancel: Cancellation | None = None,
    ) -> None:
        self.limit = min(max_new_tokens, session.n_positions - len(prompt) + 1)
        """Most new tokens; the last one is not fed."""
        check_prompt(prompt, session.n_positions, self.limit)
        self.ids: Ids = np.array([prompt], np.int64)
        """All texts, prompt included, [texts, n]; at first the prompt alone."""
        self._prompt_length = len(prompt)
        self._session, self._cancel = session, cancel
        self._cache = session.new_cache(rows, capacity=len(prompt) + self.limit - 1)
        self._used = self._cache.rows(0, 1)

    @property
    def new_ids(self) -> Ids:
        """All texts without the prompt, [texts, n]."""
        return self.ids[:, self._prompt_length :]

    def start(self) -> npt.NDArray[np.float32]:
        """Feed the prompt; logits of the token after it, [1, vocab_size]."""
        return self._session.forward(self.ids, self._used, cancel=self._cancel)[:, -1]

    def grow(
        self, sources: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """Replace all texts: each new one is text ``sources[i]`` with ``tokens[i]`` after it.

        Returns:
            Logits of the tokens after those, [texts, vocab_size].
        """
        before, rows = len(self.ids), len(self._cache.lengths)
        # A row that was not in use shares nothing with its source.
        shared = _common_prefix(self.ids) if len(sources) <= before else 0
        self._cache.reorder([*sources.tolist(), *range(len(sources), rows)], shared)
        if len(sources) != before:
            self._used = self._cache.rows(0, len(sources)) if len(sources) < rows else self._cache
        self.ids = np.column_stack([self.ids[sources], tokens])
        logits = self._session.forward(self.ids[:, -1:], self._used, cancel=self._cancel)
        return logits[:, -1]


def check_prompt(prompt: Sequence[int], n_positions: int, limit: int) -> None:
    """Refuse an empty prompt, and one after which not even one token fits.

    Raises:
        RequestError: see above.
    """
    if not prompt:
        raise RequestError("the prompt is empty: a search needs at least one id.")
    if limit < 1:
        raise RequestError(
            f"no new token fits: the prompt has {len(prompt)} of at most {n_positions} tokens."
        )


def _common_prefix(texts: Ids) -> int:
    """At how many first positions all rows of ``texts``, [rows, n], are equal.

    >>> _common_prefix(np.array([[1, 2, 3], [1, 2, 4]]))
    2
    """
    differs = (texts != texts[0]).any(0)
    return int(differs.argmax()) if differs.any() else texts.shape[1]
