"""Speculative decoding: one step checks several draft tokens, as many as save time.

The chain chooses from the model's own logits at each position in turn, up to the first choice that differs
from its draft token. So the tokens are those of plain decoding, greedy or drawn, for the same seed. For a draft
token proposed with certainty this is the accept/reject rule of Leviathan et al. (2023, arXiv:2211.17192): a draft
token is accepted with its probability, else another token is drawn from the rest.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.context import Context, common_prefix
from gpt2xl.decoding.drafting import Drafter
from gpt2xl.decoding.speculation_costs import DRAFT_LENGTHS, SpeculationCosts
from gpt2xl.sessions.protocol import Logits, PositionLogits, TopLogits


@dataclass
class Acceptance:
    """How many draft tokens were checked, and how many of them were accepted."""

    guessed: int = 0
    accepted: int = 0


@dataclass
class Experience:
    """What speculation has learned of a model and a drafter; its texts share it."""

    costs: SpeculationCosts = field(default_factory=SpeculationCosts)
    is_exact: bool = True
    """Whether every step with draft tokens that was compared with a plain step gave the same logits."""
    compared_counts: set[int] = field(default_factory=set)
    """Numbers of draft tokens whose steps were compared."""
    acceptance: Acceptance = field(default_factory=Acceptance)
    """Of all texts together."""


@dataclass(frozen=True)
class _LastStep:
    length: int
    """Tokens of the text before the draft."""
    draft: list[int]
    draft_seconds: float
    step_seconds: float


class Speculator:
    """Feeds a text to its context, with draft tokens while they save time.

    Args:
        drafter: proposes the draft tokens.
        experience: of earlier texts.
        tolerance: largest difference between the logits of a step with draft tokens and of a plain one that changes no
            text (`Exactness.tolerance`).
    """

    def __init__(self, drafter: Drafter, experience: Experience, tolerance: float = 0.0) -> None:
        self.acceptance = Acceptance()
        self._tolerance = tolerance
        self._drafter = drafter
        self._experience = experience
        self._has_begun = False
        self._last: _LastStep | None = None

    def advance(
        self, context: Context, ids: Sequence[int], room: int, chain: Chain
    ) -> tuple[list[int], PositionLogits | TopLogits]:
        """Feed ``ids`` and some draft tokens.

        Args:
            context: is fed.
            ids: the text so far: the text of the last call and what was chosen since.
            room: most draft tokens that can still be of use.
            chain: will choose from the logits.

        Returns:
            The draft tokens, and the logits after the last id and after each draft token.
        """
        start = time.perf_counter()
        self._learn(ids)
        draft = self._propose(ids, room, chain)
        drafted = time.perf_counter()
        plain = self._plain_logits(context, ids, draft)
        fed = time.perf_counter()
        logits = context.advance([*ids, *draft] if draft else ids, 1 + len(draft))
        done = time.perf_counter()
        experience = self._experience
        if plain is not None:
            experience.costs.add_loss(fed - drafted)
            if not difference(plain, logits[0]) <= self._tolerance:
                experience.is_exact = False
                draft, logits = [], context.advance(ids)
        # Set last: a text in another thread relies on it.
        experience.compared_counts.add(len(draft))
        self._last = _LastStep(len(ids), draft, drafted - start, done - fed)
        return draft, logits

    def _propose(self, ids: Sequence[int], room: int, chain: Chain) -> list[int]:
        if not self._experience.is_exact:
            return []
        count = self._experience.costs.choose(room)
        draft = self._drafter.draft(ids, count, chain) if count else []
        if draft and chain.accepted:
            draft = chain.accepted(ids, draft)
        return draft[: max((count for count in DRAFT_LENGTHS if count <= len(draft)), default=0)]

    def _learn(self, ids: Sequence[int]) -> None:
        """Take the last step into account, now that the tokens after it are chosen."""
        costs = self._experience.costs
        if not self._has_begun:
            costs.begin_text()
            self._has_begun = True
        last, self._last = self._last, None
        if last is None:
            return
        if not last.draft:
            costs.add_plain_step(last.step_seconds)
            return
        accepted = common_prefix(last.draft, ids[last.length :])
        for acceptance in (self.acceptance, self._experience.acceptance):
            acceptance.guessed += len(last.draft)
            acceptance.accepted += accepted
        costs.add_drafted_step(len(last.draft), accepted, last.draft_seconds, last.step_seconds)

    def _plain_logits(
        self, context: Context, ids: Sequence[int], draft: Sequence[int]
    ) -> Logits | TopLogits | None:
        """Logits of a plain step, the first time that there are so many draft tokens; else None."""
        if not draft or len(draft) in self._experience.compared_counts:
            return None
        return context.advance(ids)[-1]


def difference(first: Logits | TopLogits, second: Logits | TopLogits) -> float:
    """Largest difference between two positions' logits; infinite where not all of them are known."""
    if isinstance(first, TopLogits) or isinstance(second, TopLogits):
        return math.inf
    return float(np.abs(first - second).max())
