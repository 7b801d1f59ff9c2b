"""The finished texts of a search, and whether a beam may still become better than they are."""

from bisect import insort_right
from collections.abc import Sequence

from gpt2xl.searches.candidates import Candidates
from gpt2xl.searches.settings import BeamSettings, FinishReason, Hypothesis, Stops
from gpt2xl.sessions.protocol import Ids


class Finished:
    """The best texts that have ended.

    Args:
        settings: of the search.
        count: how many texts are kept, which is also how many beams go on.
        limit: most new tokens of a text.
        eos_token_ids: the ids that end a text.
        stops: ends further texts.
    """

    def __init__(
        self,
        settings: BeamSettings,
        count: int,
        limit: int,
        eos_token_ids: Sequence[int] = (),
        stops: Stops | None = None,
    ) -> None:
        self.best: list[Hypothesis] = []
        """At most ``count``, the best first."""
        self._settings, self._count, self._limit = settings, count, limit
        self._eos, self._stops = frozenset(eos_token_ids), stops

    def take(self, found: Candidates, new_ids: Ids, *, is_last: bool = False) -> list[int]:
        """Add those of ``found`` that end and are among the ``count`` best of them.

        Args:
            found: candidates, the best first.
            new_ids: what each text holds after the prompt, without the candidate's token, [texts, n].
            is_last: whether all texts end with this token.

        Returns:
            Indices of the ``count`` best of ``found`` that go on.
        """
        going_on = list[int]()
        for rank, (row, token) in enumerate(zip(found.rows, found.tokens, strict=True)):
            if len(going_on) == self._count:
                break
            before = new_ids[row].tolist()
            reason = self._reason(before, int(token)) or ("length" if is_last else None)
            if reason is None:
                going_on.append(rank)
            elif rank < self._count:
                self.add(before, int(token), float(found.scores[rank]), reason)
        return going_on

    def add(self, before: list[int], token: int, total: float, reason: FinishReason) -> None:
        """Keep the text ``before`` and ``token``, where it is good enough; ``total`` sums its log-probabilities."""
        ids = before if token in self._eos else [*before, token]
        score = total / (len(before) + 1) ** self._settings.length_penalty
        insort_right(self.best, Hypothesis(ids, score, reason), key=lambda text: -text.score)
        del self.best[self._count :]

    def is_final(self, best_total: float, length: int) -> bool:
        """Whether the search is over.

        Args:
            best_total: sum of log-probabilities of the best text that may go on.
            length: its new tokens.
        """
        if len(self.best) < self._count:
            return False
        early, penalty = self._settings.early_stopping, self._settings.length_penalty
        if early is True:
            return True
        reached = self._limit if early == "never" and penalty > 0 else length
        return bool(self.best[-1].score >= best_total / reached**penalty)

    def _reason(self, before: list[int], token: int) -> FinishReason | None:
        is_end = token in self._eos or (self._stops is not None and self._stops([*before, token]))
        return "stop" if is_end else None
