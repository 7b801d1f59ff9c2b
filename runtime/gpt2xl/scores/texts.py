"""How probable a text is: log-probabilities of its tokens, and its perplexity."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gpt2xl.decoding.context import Context
from gpt2xl.decoding.logprobs import Logprobs, PromptScores
from gpt2xl.errors import RequestError
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.options import checked_integer


@dataclass(frozen=True)
class Score:
    """How probable a text is."""

    ids: list[int]
    logprobs: list[Logprobs | None]
    """One for each of ``ids``; None for the first, which nothing precedes."""

    @property
    def sum(self) -> float:
        """Of all log-probabilities, in nats."""
        return math.fsum(found.token for found in self.logprobs if found)

    @property
    def perplexity(self) -> float:
        """Exp of the mean negative log-probability of a token, the first one left out."""
        return math.exp(-self.sum / sum(found is not None for found in self.logprobs))


def score_ids(
    session: Session, ids: Sequence[int], top: int = 0, stride: int | None = None
) -> Score:
    """Score a text of any length.

    Args:
        session: computes the logits.
        ids: at least two.
        top: how many of the most probable ids each token carries.
        stride: a text beyond the context is read in windows of n_positions tokens; so many of each but the first are
            new ones, and what is before them is context. None: half of n_positions.

    Raises:
        RequestError: too few ids, or a stride that is not from 1 to n_positions - 1.
    """
    if len(ids) < 2:
        raise RequestError(f"a text to score has to have two tokens at least, but has {len(ids)}.")
    longest = session.n_positions
    stride = checked_integer(
        "stride", max(1, longest // 2) if stride is None else stride, 1, longest - 1
    )
    logprobs = list[Logprobs | None]()
    for start, end in windows(len(ids), longest, stride):
        scores = PromptScores(ids[start:end], top)
        Context(session).score(ids[start:end], scores.add)
        logprobs += scores.logprobs[len(logprobs) - start :]
    return Score(list(ids), logprobs)


def windows(length: int, longest: int, stride: int) -> Iterator[tuple[int, int]]:
    """Where windows begin and end.

    >>> list(windows(10, 4, 2)), list(windows(3, 4, 2))
    ([(0, 4), (2, 6), (4, 8), (6, 10)], [(0, 3)])
    """
    end = min(longest, length)
    yield 0, end
    while end < length:
        end = min(end + stride, length)
        yield end - longest, end
