"""How many tokens to draft for a step, from what steps take and how often draft tokens are accepted.

A step with n draft tokens takes ``plain_seconds * relative_seconds[n] + n * draft_seconds``. If each of them is accepted
with probability p, given that those before it are, the step yields 1 + p + ... + p^n tokens on average (Leviathan et
al. 2023, arXiv:2211.17192, equation 1). The n with the most tokens a second is chosen, or none where plain
decoding is as fast. What is not known yet has to be tried, and machines change their speed: a budget limits what
tries may lose.
"""

from dataclasses import dataclass, field

from gpt2xl.sessions.exactness import SHORT_STEP

# Draft tokens in a step: with the token before them 2, 4 or 8, which is still a short step.
DRAFT_LENGTHS = tuple(2**n - 1 for n in range(1, SHORT_STEP.bit_length()))
MAX_LOSS = 0.015  # share of the decoding time that drafting may lose where it does not pay
MAX_DEBT_STEPS = 50  # plain steps: a larger loss is forgotten, it was a pause of the whole process
SMOOTHING = 0.8  # weight of the past in a running mean
RETIME_STEPS = 32  # steps after which a plain step is timed again
ASSUMED_STEP = (
    0.05  # what each draft token adds to a step, relative to a plain step, before it is measured
)
ASSUMED_ACCEPTANCE = 0.6


@dataclass
class SpeculationCosts:
    """What is known of the steps of a model and a drafter, from text to text."""

    plain_seconds: float = 0.0
    """Duration of a step without draft tokens; 0 before one was timed."""
    relative_seconds: dict[int, float] = field(default_factory=dict)
    """Duration of steps by their number of draft tokens, relative to a plain step."""
    draft_seconds: float = 0.0
    """Duration of drafting one token."""
    acceptance_rate: float = ASSUMED_ACCEPTANCE
    """Probability, in this text, that a draft token is accepted if those before it are."""
    budget_seconds: float = 0.0
    """What drafting may lose now: a share of the time spent, and what drafting has saved in this text."""
    steps_since_timed: int = 0
    follows_plain_step: bool = False
    counts_tried: set[int] = field(default_factory=set)
    """Numbers of draft tokens that this text has tried."""

    def begin_text(self) -> None:
        """Forget what is particular to the last text; a loss stays, so that texts do not repeat it."""
        self.budget_seconds = min(0.0, self.budget_seconds)
        self.acceptance_rate = ASSUMED_ACCEPTANCE
        self.steps_since_timed, self.follows_plain_step = RETIME_STEPS, False
        for count in (
            self.relative_seconds.keys() - self.counts_tried
        ):  # may have been a slow moment
            self.relative_seconds[count] = mean(self.relative_seconds[count], assumed(count))
        self.counts_tried.clear()

    def choose(self, room: int) -> int:
        """The number of draft tokens for the next step, at most ``room``."""
        counts = [count for count in DRAFT_LENGTHS if count <= room]
        if not counts or not self.plain_seconds or self.steps_since_timed >= RETIME_STEPS:
            return 0
        longest = (
            self.plain_seconds + self.budget_seconds
        )  # that can be afforded if no draft token is accepted
        if min(map(self.step_seconds, counts)) > longest:
            return 0
        best = max(counts, key=self.speedup)
        if self.speedup(best) <= 1:
            best = counts[0]  # to find out whether that is still true
        return best if self.step_seconds(best) <= longest else 0

    def speedup(self, count: int) -> float:
        """Expected tokens a second with ``count`` draft tokens, relative to plain decoding."""
        tokens = sum(self.acceptance_rate**n for n in range(count + 1))
        return tokens * self.plain_seconds / self.step_seconds(count)

    def step_seconds(self, count: int) -> float:
        """Expected seconds of a step with ``count`` draft tokens, drafting included."""
        relative = self.relative_seconds.get(count, assumed(count))
        return relative * self.plain_seconds + count * self.draft_seconds

    def add_plain_step(self, seconds: float) -> None:
        """Take a step without draft tokens into account."""
        # After a prompt or a draft, threads are asleep and the weights are not in the CPU's caches.
        if self.follows_plain_step or not self.plain_seconds:
            self.plain_seconds = quickest(self.plain_seconds or None, seconds)
            self.steps_since_timed = 0
        self.follows_plain_step = True
        self.steps_since_timed += 1
        self.budget_seconds += MAX_LOSS * seconds

    def add_drafted_step(
        self, drafted: int, accepted: int, draft_seconds: float, step_seconds: float
    ) -> None:
        """Take a step with ``drafted`` draft tokens into account; the seconds are of drafting and of the step."""
        self.follows_plain_step = False
        self.steps_since_timed += 1
        relative = step_seconds / self.plain_seconds
        known = self.relative_seconds.get(drafted) if drafted in self.counts_tried else None
        self.relative_seconds[drafted] = quickest(known, relative)
        self.counts_tried.add(drafted)
        # The first draft token of a draft model includes its prefill.
        self.draft_seconds = quickest(self.draft_seconds or None, draft_seconds / drafted)
        for outcome in [1.0] * accepted + [0.0] * (accepted < drafted):
            self.acceptance_rate = mean(self.acceptance_rate, outcome)
        seconds = draft_seconds + step_seconds
        self.add_loss(seconds - (accepted + 1) * self.plain_seconds)
        self.budget_seconds += MAX_LOSS * seconds

    def add_loss(self, seconds: float) -> None:
        """Take time into account that drafting has cost; negative where it has saved time."""
        limit = -MAX_DEBT_STEPS * self.plain_seconds
        self.budget_seconds = max(limit, self.budget_seconds - seconds)


def assumed(count: int) -> float:
    """What a step with ``count`` draft tokens takes, relative to a plain step, before it is measured."""
    return 1 + ASSUMED_STEP * count


def mean(before: float | None, value: float) -> float:
    """The running mean with ``value`` in it.

    >>> mean(None, 2.0), round(mean(1.0, 2.0), 3)
    (2.0, 1.2)
    """
    return value if before is None else SMOOTHING * before + (1 - SMOOTHING) * value


def quickest(before: float | None, value: float) -> float:
    """Like `mean`, but drops at once: what disturbs a step makes it longer, never shorter.

    >>> quickest(2.0, 1.0), round(quickest(1.0, 2.0), 3)
    (1.0, 1.2)
    """
    return min(value, mean(before, value))
