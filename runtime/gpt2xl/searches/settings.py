"""What a search is asked for, and what it gives."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from gpt2xl.errors import RequestError

EarlyStopping = bool | Literal["never"]
FinishReason = Literal["stop", "length"]
Stops = Callable[[Sequence[int]], bool]
"""Whether the new ids, the prompt left out, end a text; the last of them stays in it."""


@dataclass(frozen=True)
class BeamSettings:
    """Options of beam search, with transformers' names.

    Raises:
        RequestError: a value is out of range, or two do not go together.
    """

    num_beams: int
    """Beams of a step, at least 2."""
    length_penalty: float = 1.0
    """The sum of a text's log-probabilities is divided by its number of new tokens to this power."""
    early_stopping: EarlyStopping = False
    """True: the search ends with ``num_beams`` finished texts. False: when the best beam, as long as it is now, is no
    better than the worst of them. "never": as False, but it may still grow to the full length."""
    num_return_sequences: int = 1
    """How many of the finished texts are wanted, at most ``num_beams``."""
    num_beam_groups: int = 1
    """Groups of equal size that are searched one after the other in each step."""
    diversity_penalty: float = 0.0
    """Taken from the log-probability of a token for each beam of an earlier group that has just chosen it."""
    seed: int | None = None
    """Draws the candidates of each step at random; None takes the best."""

    def __post_init__(self) -> None:
        if self.num_beams < 2:
            raise RequestError(
                f"num_beams has to be >= 2 for beam search, but is {self.num_beams}: 1 is greedy decoding."
            )
        if not 1 <= self.num_return_sequences <= self.num_beams:
            raise RequestError(
                f"num_return_sequences has to be 1 to {self.num_beams}, the number of beams, but is"
                f" {self.num_return_sequences}."
            )
        if not abs(self.length_penalty) <= MAX_LENGTH_PENALTY:
            raise RequestError(
                f"length_penalty has to be -{MAX_LENGTH_PENALTY} to {MAX_LENGTH_PENALTY}, but is"
                f" {self.length_penalty}."
            )
        if self.early_stopping not in (True, False, "never"):
            raise RequestError(
                f"early_stopping has to be True, False or 'never', but is {self.early_stopping!r}."
            )
        self._check_groups()

    def _check_groups(self) -> None:
        groups, penalty = self.num_beam_groups, self.diversity_penalty
        if groups < 1 or self.num_beams % groups:
            raise RequestError(
                f"num_beam_groups has to divide num_beams, {self.num_beams}, but is {groups}."
            )
        if groups == 1 and penalty != 0:
            raise RequestError(
                f"diversity_penalty is {penalty}, but there is one group: set num_beam_groups to 2 or more."
            )
        if groups > 1 and not 0 < penalty < math.inf:
            raise RequestError(
                f"diversity_penalty has to be > 0 with groups, which are all alike without it, but is {penalty}."
            )
        if groups > 1 and self.seed is not None:
            raise RequestError("groups of beams do not sample: leave the seed out, or the groups.")


MAX_LENGTH_PENALTY = 50  # 1024**50 is finite


@dataclass(frozen=True)
class ContrastiveSettings:
    """Options of contrastive search, with transformers' names.

    Raises:
        RequestError: a value is out of range.
    """

    penalty_alpha: float
    """0 to 1: the weight of the similarity to earlier tokens, against that of the probability."""
    top_k: int
    """Candidates of a step."""

    def __post_init__(self) -> None:
        if not 0 <= self.penalty_alpha <= 1:
            raise RequestError(f"penalty_alpha has to be 0 to 1, but is {self.penalty_alpha}.")
        if self.top_k < 1:
            raise RequestError(f"top_k of contrastive search has to be >= 1, but is {self.top_k}.")


@dataclass(frozen=True)
class Hypothesis:
    """A finished text of a search."""

    ids: list[int]
    """The new ids, without the one that is end-of-text."""
    score: float
    """Of beams: the sum of log-probabilities, after the processors, divided by ``length ** length_penalty``;
    transformers calls it ``sequences_scores``."""
    finish_reason: FinishReason
