"""Contrastive search: probable tokens whose hidden state is unlike those of all tokens before.

Su et al., "A contrastive framework for neural text generation", 2022, with the rules of transformers 4.55. Each step
feeds its candidates as rows; the row of the chosen one holds the logits and the KV cache of the next step.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.searches.beams import check_prompt
from gpt2xl.searches.candidates import best, log_probabilities, processed
from gpt2xl.searches.settings import ContrastiveSettings, Hypothesis, Stops
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.protocol import Ids, Session


def contrastive_search(
    session: Session,
    ids: Sequence[int],
    settings: ContrastiveSettings,
    *,
    max_new_tokens: int,
    eos_token_ids: Sequence[int] = (),
    processors: Sequence[LogitsProcessor] = (),
    stops: Stops | None = None,
    cancel: Cancellation | None = None,
) -> Hypothesis:
    """Continue a prompt.

    Args:
        session: of a graph with the output `last_hidden_state`, which the engine graph of an export has.
        ids: the prompt: at least one id, and fewer than n_positions, as every token is fed.
        settings: see `ContrastiveSettings`.
        max_new_tokens: at least 1; the context may hold fewer.
        eos_token_ids: the ids that end a text.
        processors: change the logits.
        stops: ends further texts, a stop string say.
        cancel: ends the search from another thread.

    Returns:
        The text; its score is the sum of its tokens' log-probabilities, after the processors.

    Raises:
        RequestError: the prompt does not fit, the graph has no hidden state, or no token is left to choose.
        BundleError: onnxruntime fails.
        Cancelled: by ``cancel``.
    """
    new, score, limit = list[int](), 0.0, min(max_new_tokens, session.n_positions - len(ids))
    check_prompt(ids, session.n_positions, limit)
    search = _Search(session, list(ids), settings, limit, cancel)
    while len(new) < limit:
        token, log_probability = search.step([*ids, *new], processors)
        score += log_probability
        if token in eos_token_ids:
            return Hypothesis(new, score, "stop")
        new.append(token)
        if stops is not None and stops(new):
            return Hypothesis(new, score, "stop")
    return Hypothesis(new, score, "length")


class _Search:
    """The cache, a row for each candidate, and the hidden states of the text so far."""

    def __init__(
        self,
        session: Session,
        prompt: list[int],
        settings: ContrastiveSettings,
        limit: int,
        cancel: Cancellation | None,
    ) -> None:
        self._session, self._settings, self._cancel = session, settings, cancel
        self._length = len(prompt)
        self._cache = session.new_cache(settings.top_k, capacity=len(prompt) + limit)
        self._logits, states = self._feed_prompt(np.array([prompt], np.int64))
        self._states = np.empty((len(prompt) + limit, states.shape[1]), np.float32)
        """Of length 1, so that their products are cosines; the first `_length` are of the text so far."""
        self._states[: self._length] = _normalized(states)

    def step(self, text: list[int], processors: Sequence[LogitsProcessor]) -> tuple[int, float]:
        """Add a token to ``text``; its id and its log-probability."""
        logits = processed(np.array([text], np.int64), self._logits, processors)
        found = best(log_probabilities(logits), self._settings.top_k)
        count = len(found.tokens)
        rows = self._cache if count == self._settings.top_k else self._cache.rows(0, count)
        logits, states = self._session.logits_and_hidden_state(
            found.tokens[:, None], rows, cancel=self._cancel
        )
        states = _normalized(states[:, -1])
        likeness = (self._states[: self._length] @ states.T).max(0)
        alpha = self._settings.penalty_alpha
        chosen = int(((1 - alpha) * np.exp(found.scores) - alpha * likeness).argmax())
        self._cache.reorder([chosen] * self._settings.top_k, shared=self._length)
        self._states[self._length] = states[chosen]
        self._length += 1
        self._logits = logits[chosen]
        return int(found.tokens[chosen]), float(found.scores[chosen])

    def _feed_prompt(self, prompt: Ids) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Logits after the prompt, [1, vocab_size], and hidden states of all its tokens, [n, n_embd].

        The last token is fed apart: logits of all others would cost more than the model.
        """
        row, states = self._cache.rows(0, 1), []
        if prompt.shape[1] > 1:
            states.append(
                self._session.last_hidden_state(prompt[:, :-1], row, cancel=self._cancel)[0]
            )
        logits, last = self._session.logits_and_hidden_state(
            prompt[:, -1:], row, cancel=self._cancel
        )
        self._cache.reorder([0] * self._settings.top_k)
        return logits[0], np.concatenate([*states, last[0]])


def _normalized(states: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray(states / np.linalg.norm(states, axis=-1, keepdims=True))
