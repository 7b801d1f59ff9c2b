"""Speculative decoding: one step checks several guesses, as many as save time.

The chain chooses from the model's own logits at each position in turn, up to the first choice that differs
from its guess. So the tokens are those of plain decoding, greedy or drawn, for the same seed. For a guess
made with certainty this is the accept/reject rule of Leviathan et al. (2023, arXiv:2211.17192): a guess is
accepted with its probability, else another token is drawn from the rest.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.context import Context, common_prefix
from gpt2xl.decoding.drafting import Drafter
from gpt2xl.sessions.exactness import SHORT_STEP
from gpt2xl.sessions.logits import Logits, StepLogits, TopLogits

# Guesses in a step: with the token before them 2, 4 or 8, which is still a short step.
COUNTS = tuple(2**n - 1 for n in range(1, SHORT_STEP.bit_length()))
MAY_LOSE = 0.015  # of the time so far, should guessing not pay
MEMORY = 0.8  # weight of the past in a running mean
FIRST = 4  # plain steps before any guess: the very first ones are slow and would flatter guessing
PATIENCE, NAP = 8, 3  # after more than 8 steps without an idea, 3 go by before the next
AGAIN = 32  # steps after which a plain one is timed again: machines change their speed
FORGET = 0.95  # what a step is thought to cost after a text in which it was not seen again
FORGET_DRAFTING = 0.99  # a draft that does not pay has to read all of the text to be tried again
DEBT = 50  # plain steps of a loss that later texts have to make up for, at most
EACH = 0.05  # of a plain step that a guess adds to a step, before anything is known
HOPE = 0.6  # probability that a guess is right, before anything is known of a text


@dataclass
class Costs:
    """Running means: what a step takes by its number of guesses, and how often a guess is right.

    What steps take is known from text to text of a model and a drafter, and so are losses: what a text
    has lost is not lost again by the next.
    """

    exact: bool = True
    """Whether a step of several rows gave what one of a single row does."""
    compared: set[int] = field(default_factory=set)
    """Numbers of guesses for which that was looked at."""
    plain: float = 0.0
    """Seconds of a step without guesses; 0 before one was timed."""
    steps: dict[int, float] = field(default_factory=dict)
    """Steps by their number of guesses, in plain ones: that stays when a machine changes its speed."""
    drafting: float = 0.0
    """Seconds for one guess."""
    right: float = HOPE
    """Probability that a guess is right if those before it were."""
    total: float = 0.0
    plain_steps: int = 0
    plain_run: int = 0
    """Plain steps since the last guess."""
    untimed: int = 0
    """Steps since a plain one was timed."""
    tried: set[int] = field(default_factory=set)
    """Numbers of guesses in steps of this text."""
    saved: float = 0.0
    """Seconds that plain steps would have taken more for the same tokens; negative when losing."""

    def begin(self) -> None:
        """Another text: losses stay, savings do not, and what was not tried is thought a little better of."""
        self.saved = max(-DEBT * self.plain, min(0.0, self.saved + MAY_LOSE * self.total))
        self.total, self.right = 0.0, HOPE
        self.plain_run, self.untimed = 0, AGAIN
        for count in self.steps.keys() - self.tried:
            self.steps[count] = max(1 + EACH * count, FORGET * self.steps[count])
        if not self.tried:
            self.drafting *= FORGET_DRAFTING
        self.tried.clear()

    @property
    def is_timing(self) -> bool:
        """Whether plain steps are to be timed before any guess."""
        return self.plain_steps < FIRST or self.untimed >= AGAIN

    def tokens(self, count: int) -> float:
        """What a step with ``count`` guesses gives on average."""
        return sum(self.right**n for n in range(count + 1))

    def predicted(self, count: int) -> float:
        """Seconds of a step; one never tried is thought to cost little more than a plain one."""
        steps = self.steps.get(count, 1 + EACH * count)
        return steps * self.plain + count * self.drafting

    def choose(self, room: int) -> tuple[int, int]:
        """How many guesses give the most tokens a second, 0 when none pays or may be tried.

        With it for how many plain steps there is nothing to think about: thinking takes time, too.
        """
        counts = [count for count in COUNTS if count <= room]
        if not self.exact or not counts:
            return 0, room + 1
        best = max(counts, key=lambda count: self.tokens(count) / self.predicted(count))
        plain, spare = self.plain, self.saved + MAY_LOSE * self.total
        if self.tokens(best) * plain < self.predicted(best):
            # Texts change: look again when it can be afforded.
            best, loss = 1, self.predicted(1)
        else:
            loss = self.predicted(best) - (2 if best in self.compared else 1) * plain
        return (0, math.ceil((loss - spare) / (MAY_LOSE * plain))) if loss > spare else (best, 0)

    def rest(self) -> None:
        """A plain step that nobody timed."""
        self.total += self.plain
        self.plain_run += 1
        self.untimed += 1

    def lose(self, seconds: float) -> None:
        """Time that gave no token."""
        self.total += seconds
        self.saved -= seconds

    def learn(self, guessed: int, accepted: int, drafting: float, checking: float) -> None:
        """Take a step into account."""
        self.total += drafting + checking
        self.untimed += 1
        if guessed:
            self._learn_of_guesses(guessed, accepted, drafting, checking)
            return
        self.plain_run += 1
        self.plain_steps += 1
        # A plain step after a guess, or a prompt, finds its threads asleep and its weights gone from the caches.
        if self.plain_run > 1 or not self.plain:
            self.plain = quickest(self.plain or None, checking)
            self.untimed = 0

    def _learn_of_guesses(
        self, guessed: int, accepted: int, drafting: float, checking: float
    ) -> None:
        self.plain_run = 0
        steps = checking / self.plain
        self.steps[guessed] = quickest(
            self.steps[guessed] if guessed in self.tried else None, steps
        )
        self.tried.add(guessed)
        # A draft's first look takes long.
        self.drafting = quickest(self.drafting or None, drafting / guessed)
        self.saved += (accepted + 1) * self.plain - drafting - checking
        for hit in [1.0] * accepted + [0.0] * (accepted < guessed):
            self.right = mean(self.right, hit)


def difference(first: Logits | TopLogits, second: Logits | TopLogits) -> float:
    """The largest of what both steps gave for one position; infinity where not all of that is known."""
    if isinstance(first, TopLogits) or isinstance(second, TopLogits):
        return math.inf
    return float(np.abs(first - second).max())


def mean(before: float | None, value: float) -> float:
    """The running mean with ``value`` in it."""
    return value if before is None else MEMORY * before + (1 - MEMORY) * value


def quickest(before: float | None, value: float) -> float:
    """Down at once, up by and by: what disturbs a step makes it longer, never shorter."""
    return min(value, mean(before, value))


@dataclass
class Acceptance:
    """What came of guessing."""

    guessed: int = 0
    accepted: int = 0


@dataclass(frozen=True)
class _Step:
    """The last one."""

    ids: int
    guesses: list[int]
    drafting: float
    checking: float


class Speculator:
    """Takes a context from text to text, with guesses while they pay.

    Args:
        drafter: who guesses.
        costs: what is known of earlier texts.
        tolerance: largest difference of logits between a step of one row and one of several that makes
            no other tokens. Where activations are quantized that is 0: one that is rounded the other way
            makes all those after it differ, too.
    """

    def __init__(self, drafter: Drafter, costs: Costs, tolerance: float = 0.0) -> None:
        self.acceptance = Acceptance()
        self._tolerance = tolerance
        self._drafter = drafter
        self._costs = costs
        self._has_begun = False
        self._last: _Step | None = None
        self._rest = 0
        self._fruitless = 0
        """Steps since there was an idea."""

    def advance(
        self, context: Context, ids: Sequence[int], room: int, chain: Chain
    ) -> tuple[list[int], StepLogits | TopLogits]:
        """Feed ``ids`` and some guesses.

        Args:
            context: what is fed.
            ids: the text so far, the one of the last call with what was drawn since.
            room: guesses that would still be of use.
            chain: will choose from the logits.

        Returns:
            The guesses, and the logits after the last id and after each guess.
        """
        start = time.perf_counter()
        if not self._has_begun:
            self._costs.begin()
            self._has_begun = True
        self._learn(ids)
        if self._rest:
            self._rest -= 1
            self._costs.rest()
            return [], context.advance(ids)
        guesses = [] if self._costs.is_timing else self._guess(ids, room, chain)
        drafted = time.perf_counter()
        plain = self._plain(context, ids, guesses)
        asked = time.perf_counter()
        logits = context.advance([*ids, *guesses] if guesses else ids, 1 + len(guesses))
        done = time.perf_counter()
        if plain is not None and not difference(plain, logits[0]) <= self._tolerance:
            self._costs.exact = False
            guesses, logits = [], context.advance(ids)
        self._costs.compared.add(len(guesses))  # last: a text of another thread may rely on it
        self._costs.lose(asked - drafted)
        self._last = _Step(len(ids), guesses, drafted - start, done - asked)
        return guesses, logits

    def _guess(self, ids: Sequence[int], room: int, chain: Chain) -> list[int]:
        count, self._rest = self._costs.choose(room)
        if not count:
            return []
        guesses = self._drafter.guess(ids, count, chain)
        self._fruitless = 0 if guesses else self._fruitless + 1
        if self._fruitless > PATIENCE:
            self._rest = NAP
        return guesses[: max((count for count in COUNTS if count <= len(guesses)), default=0)]

    def _learn(self, ids: Sequence[int]) -> None:
        last, self._last = self._last, None
        if last is None:
            return
        accepted = common_prefix(last.guesses, ids[last.ids :])
        self.acceptance.guessed += len(last.guesses)
        self.acceptance.accepted += accepted
        self._costs.learn(len(last.guesses), accepted, last.drafting, last.checking)

    def _plain(
        self, context: Context, ids: Sequence[int], guesses: Sequence[int]
    ) -> Logits | TopLogits | None:
        """Logits after ``ids`` by a plain step, the first time that there are so many guesses."""
        if not guesses or len(guesses) in self._costs.compared:
            return None
        return context.advance(ids)[-1]
