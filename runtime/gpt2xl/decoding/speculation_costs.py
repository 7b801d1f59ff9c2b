"""How many tokens to guess in a step, from what steps take and how often guesses are accepted.

A step with n guesses takes ``plain_seconds * relative_seconds[n] + n * draft_seconds``. If each guess is accepted
with probability p, given that those before it are, the step yields 1 + p + ... + p^n tokens on average (Leviathan et
al. 2023, arXiv:2211.17192, equation 1). The n with the most tokens a second is chosen, or none where plain
decoding is as fast. What is not known yet has to be tried, and machines change their speed: a budget limits what
tries may lose.
"""

from dataclasses import dataclass, field

from gpt2xl.sessions.exactness import SHORT_STEP

# Guesses in a step: with the token before them 2, 4 or 8, which is still a short step.
COUNTS = tuple(2**n - 1 for n in range(1, SHORT_STEP.bit_length()))
MAX_LOSS = 0.015  # share of the decoding time that guesses may lose where they do not pay
MAX_DEBT_STEPS = 50  # plain steps: a larger loss is forgotten, it was a pause of the whole process
SMOOTHING = 0.8  # weight of the past in a running mean
RETIME_STEPS = 32  # steps after which a plain step is timed again
ASSUMED_STEP = (
    0.05  # what each guess adds to a step, relative to a plain step, before it is measured
)
ASSUMED_ACCEPTANCE = 0.6


@dataclass
class SpeculationCosts:
    """What is known of the steps of a model and a drafter, from text to text."""

    plain_seconds: float = 0.0
    """Of a step without guesses; 0 before one was timed."""
    relative_seconds: dict[int, float] = field(default_factory=dict)
    """Of steps by their number of guesses, relative to a plain step."""
    draft_seconds: float = 0.0
    """Of one guess."""
    acceptance_rate: float = ASSUMED_ACCEPTANCE
    """Of this text: probability that a guess is accepted if those before it are."""
    budget_seconds: float = 0.0
    """What guesses may lose now: a share of the time spent, and what guesses have saved in this text."""
    steps_since_timed: int = 0
    follows_plain_step: bool = False
    counts_tried: set[int] = field(default_factory=set)
    """In this text."""

    def begin_text(self) -> None:
        """Forget what is particular to the last text; a loss stays, so that texts do not repeat it."""
        self.budget_seconds = min(0.0, self.budget_seconds)
        self.acceptance_rate = ASSUMED_ACCEPTANCE
        self.steps_since_timed, self.follows_plain_step = RETIME_STEPS, False
        for count in (
            self.relative_seconds.keys() - self.counts_tried
        ):  # may have been a slow moment
            self.relative_seconds[count] = mean(self.relative_seconds[count], assumed(count))
        if not self.counts_tried:
            self.draft_seconds *= SMOOTHING
        self.counts_tried.clear()

    def choose(self, room: int) -> int:
        """The number of guesses for the next step, at most ``room``."""
        counts = [count for count in COUNTS if count <= room]
        if not counts or not self.plain_seconds or self.steps_since_timed >= RETIME_STEPS:
            return 0
        best = max(counts, key=self.speedup)
        if self.speedup(best) <= 1:
            best = counts[0]  # to find out whether that is still true
        loss = self.step_seconds(best) - self.plain_seconds  # if no guess is accepted
        return best if loss <= self.budget_seconds else 0

    def speedup(self, count: int) -> float:
        """Expected tokens a second with ``count`` guesses, relative to plain decoding."""
        tokens = sum(self.acceptance_rate**n for n in range(count + 1))
        return tokens * self.plain_seconds / self.step_seconds(count)

    def step_seconds(self, count: int) -> float:
        """Expected seconds of a step with ``count`` guesses, drafting included."""
        relative = self.relative_seconds.get(count, assumed(count))
        return relative * self.plain_seconds + count * self.draft_seconds

    def add_plain_step(self, seconds: float) -> None:
        """Take a step without guesses into account."""
        # After a prompt or a guess, threads are asleep and the weights are not in the CPU's caches.
        if self.follows_plain_step or not self.plain_seconds:
            self.plain_seconds = quickest(self.plain_seconds or None, seconds)
            self.steps_since_timed = 0
        self.follows_plain_step = True
        self.steps_since_timed += 1
        self.budget_seconds += MAX_LOSS * seconds

    def add_guesses(
        self, guessed: int, accepted: int, draft_seconds: float, step_seconds: float
    ) -> None:
        """Take a step with ``guessed`` guesses into account; the seconds are of drafting and of the step."""
        self.follows_plain_step = False
        self.steps_since_timed += 1
        relative = step_seconds / self.plain_seconds
        known = self.relative_seconds.get(guessed) if guessed in self.counts_tried else None
        self.relative_seconds[guessed] = quickest(known, relative)
        self.counts_tried.add(guessed)
        # The first guess of a draft model includes its prefill.
        self.draft_seconds = quickest(self.draft_seconds or None, draft_seconds / guessed)
        for outcome in [1.0] * accepted + [0.0] * (accepted < guessed):
            self.acceptance_rate = mean(self.acceptance_rate, outcome)
        seconds = draft_seconds + step_seconds
        self.add_loss(seconds - (accepted + 1) * self.plain_seconds)
        self.budget_seconds += MAX_LOSS * seconds

    def add_loss(self, seconds: float) -> None:
        """Take time into account that guessing has cost; negative where it has saved time."""
        limit = -MAX_DEBT_STEPS * self.plain_seconds
        self.budget_seconds = max(limit, self.budget_seconds - seconds)


def assumed(count: int) -> float:
    """What a step with ``count`` guesses takes, relative to a plain step, before it is measured."""
    return 1 + ASSUMED_STEP * count


def mean(before: float | None, value: float) -> float:
    """The running mean with ``value`` in it.

    >>> mean(None, 2.0), round(mean(1.0, 2.0), 3)
    (2.0, 1.2)
    """
    return value if before is None else SMOOTHING * before + (1 - SMOOTHING) * value


def quickest(before: float | None, value: float) -> float:
    """As `mean`, but drops at once: what disturbs a step makes it longer, never shorter.

    >>> quickest(2.0, 1.0), round(quickest(1.0, 2.0), 3)
    (1.0, 1.2)
    """
    return min(value, mean(before, value))
