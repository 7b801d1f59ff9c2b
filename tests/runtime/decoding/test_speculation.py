"""Guessing changes no text, follows the model's probabilities, and is given up where it does not pay."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2xl import Acceptance, Model, RequestError
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.drafting import LONGEST, SHORTEST, DraftModel, PromptLookup
from gpt2xl.decoding.loop import generate_tokens
from gpt2xl.decoding.samplers import Sampler, greedy, make_sampler
from gpt2xl.decoding.speculation import (
    AGAIN,
    COUNTS,
    FIRST,
    MAY_LOSE,
    Costs,
    Speculator,
    difference,
)
from gpt2xl.sessions.logits import Ids, StepLogits, TopLogits
from gpt2xl.startup.providers import Device
from gpt2xl.text.tokenizer import Tokenizer

PRECISIONS = ["fp32", "int8", "int8-weight", "int4"]
VOCAB, CONTEXT = 6, 256
Chain = npt.NDArray[np.float32]  # [VOCAB, VOCAB], logits of the next id after each


class Clock:
    """Time that only passes when somebody says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


@dataclass
class FakeCache:
    length: int = 0
    keys_and_values: list[npt.NDArray[np.generic]] = field(default_factory=list)

    def fill(self, values: Any) -> None:
        raise AssertionError

    def truncate(self, length: int) -> None:
        self.length = min(self.length, length)

    def reserve(self, capacity: int) -> None:
        """Any number fits."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.array([self.length])

    def rows(self, start: int, stop: int) -> "FakeCache":
        raise AssertionError

    def copy_row(self, source: int, target: int) -> None:
        raise AssertionError


@dataclass
class FakeSession:
    """A Markov chain; a step takes a second and a twentieth for each further id."""

    chain: Chain
    clock: Clock = field(default_factory=Clock)
    noise: float = 0.0
    """What logits differ by where several are kept."""
    steps: int = 0
    n_positions: int = CONTEXT
    long_step_from: int = 1
    has_int8_cache: bool = False
    vocab_size: int = VOCAB
    device: Device = "cpu"
    prefill_chunk: int = 256
    shares_steps: bool = False

    def new_cache(self, rows: int = 1, capacity: int | None = None) -> FakeCache:
        return FakeCache()

    def forward(
        self, input_ids: Ids, cache: Any, *, keep: int = 1, cancel: Any = None
    ) -> StepLogits:
        ids = input_ids[0]
        cache.length += len(ids)
        assert cache.length <= CONTEXT
        self.clock.now += 1 + 0.05 * (len(ids) - 1)
        self.steps += 1
        logits: StepLogits = self.chain[ids[-keep:]].copy()
        if keep > 1:
            logits[:, 0] += np.float32(self.noise)
        return logits.reshape(1, keep, -1)

    def forward_top(
        self, input_ids: Ids, cache: Any, top_k: int, *, cancel: Any = None
    ) -> StepLogits:
        return self.forward(input_ids, cache)

    def last_hidden_state(self, input_ids: Ids, cache: Any) -> Any:
        raise AssertionError


@dataclass
class Oracle:
    """Knows the text, and says it, or something else."""

    text: list[int]
    lies: bool = False

    def guess(self, ids: Sequence[int], count: int, sampler: Sampler) -> list[int]:
        return [(t + self.lies) % VOCAB for t in self.text[len(ids) : len(ids) + count]]


def chain(seed: int = 0, spread: float = 1.0) -> Chain:
    values = np.random.default_rng(seed).normal(0, spread, (VOCAB, VOCAB))
    return values.astype(np.float32)


def text_of(
    session: FakeSession,
    sampler: Sampler,
    speculator: Speculator | None = None,
    count: int = CONTEXT,
) -> list[int]:
    """The prompt [0] and what follows."""
    tokens = generate_tokens(
        Context(session), [0], sampler, max_new_tokens=count, eos_token_ids=set(), speculator=speculator
    )  # fmt: skip
    return [0, *(token.id for token in tokens)]


SAMPLERS: dict[str, Callable[[], Sampler]] = {
    "greedy": lambda: greedy,
    "sampled": lambda: make_sampler(0, 1.0, 3),
}


@pytest.fixture(params=SAMPLERS)
def sampler(request: pytest.FixtureRequest) -> Callable[[], Sampler]:
    return SAMPLERS[request.param]


def test_a_drafter_that_is_always_right_saves_most_steps(
    clock: Clock, sampler: Callable[[], Sampler]
) -> None:
    plain = FakeSession(chain(), clock)
    wanted = text_of(plain, sampler())
    began, session, speculator = (
        clock.now,
        FakeSession(chain(), clock),
        Speculator(Oracle(wanted), Costs()),
    )
    assert text_of(session, sampler(), speculator) == wanted
    # The last step is not looked at any more, so its guesses do not count.
    assert speculator.acceptance.guessed == speculator.acceptance.accepted > CONTEXT * 0.8
    assert session.steps < plain.steps / 5
    assert clock.now - began < began / 4
    assert speculator._costs.right > 0.99
    assert speculator._costs.saved > 0


def test_a_drafter_that_is_always_wrong_is_given_up(
    clock: Clock, sampler: Callable[[], Sampler]
) -> None:
    wanted = text_of(FakeSession(chain(), clock), sampler())
    plain = clock.now
    session, speculator = (
        FakeSession(chain(), clock),
        Speculator(Oracle(wanted, lies=True), Costs()),
    )
    assert text_of(session, sampler(), speculator) == wanted
    assert speculator.acceptance.accepted == 0
    assert 0 < speculator.acceptance.guessed < CONTEXT / 4
    assert speculator._costs.right < 0.3
    assert clock.now - plain < plain * (1 + MAY_LOSE) + 3


def test_what_one_text_has_lost_the_next_ones_do_not_lose_again(clock: Clock) -> None:
    wanted = text_of(FakeSession(chain(), clock), greedy)
    plain, costs, lost = clock.now, Costs(), []
    for _ in range(6):
        began, speculator = clock.now, Speculator(Oracle(wanted, lies=True), costs)
        assert text_of(FakeSession(chain(), clock), greedy, speculator) == wanted
        lost.append(clock.now - began - plain)
    assert lost[0] > 1
    assert sum(lost[1:]) < 5 * plain * MAY_LOSE
    assert max(lost[1:]) < lost[0]


def test_a_slow_moment_does_not_end_the_guessing_for_good(clock: Clock) -> None:
    wanted, costs = text_of(FakeSession(chain(), clock), greedy), Costs()
    plain = clock.now
    text_of(FakeSession(chain(), clock), greedy, Speculator(Oracle(wanted), costs))
    costs.steps = dict.fromkeys(COUNTS, 3.0)
    costs.saved = -100 * plain
    took = []
    for _ in range(40):
        began = clock.now
        text_of(FakeSession(chain(), clock), greedy, Speculator(Oracle(wanted), costs))
        took.append(clock.now - began)
    assert took[0] > plain * 0.9
    assert took[-1] < plain / 4


def test_texts_that_take_turns_begin_when_they_are_written(clock: Clock) -> None:
    wanted, costs = text_of(FakeSession(chain(), clock), greedy), Costs()
    speculators = [Speculator(Oracle(wanted), costs) for _ in range(2)]
    for speculator in speculators:
        assert text_of(FakeSession(chain(), clock), greedy, speculator) == wanted
        costs.right = 0.0  # as a bad text would leave it
    assert speculators[1].acceptance.accepted > CONTEXT / 2


def test_guesses_are_checked_against_all_logits_only() -> None:
    row = np.array([1.0, 3.0], np.float32)
    assert difference(row, row + np.float32(0.5)) == 0.5
    assert difference(TopLogits(row, np.array([4, 7])), row) == np.inf


def test_a_good_text_lets_no_later_one_lose_more(clock: Clock) -> None:
    wanted, costs = text_of(FakeSession(chain(), clock), greedy), Costs()
    plain = clock.now
    text_of(FakeSession(chain(), clock), greedy, Speculator(Oracle(wanted), costs))
    began = clock.now
    assert began - plain < plain / 4
    text_of(FakeSession(chain(), clock), greedy, Speculator(Oracle(wanted, lies=True), costs))
    assert clock.now - began < plain * (1 + MAY_LOSE) + 3


@pytest.mark.parametrize(("noise", "tolerance"), [(5.0, 0.0), (1e-4, 0.0), (5.0, 1e-3)])
def test_logits_that_differ_when_several_are_kept_end_the_guessing(
    clock: Clock, sampler: Callable[[], Sampler], noise: float, tolerance: float
) -> None:
    wanted = text_of(FakeSession(chain(), clock), sampler())
    session, speculator = (
        FakeSession(chain(), clock, noise),
        Speculator(Oracle(wanted), Costs(), tolerance),
    )
    assert text_of(session, sampler(), speculator) == wanted
    assert speculator.acceptance == Acceptance()
    assert session.steps <= CONTEXT + 2


def test_a_difference_within_the_tolerance_is_none(clock: Clock) -> None:
    wanted = text_of(FakeSession(chain(), clock), greedy)
    session, speculator = (
        FakeSession(chain(), clock, 1e-6),
        Speculator(Oracle(wanted), Costs(), 1e-3),
    )
    assert text_of(session, greedy, speculator) == wanted
    assert speculator.acceptance.accepted > 0


@given(
    seed=st.integers(0, 99),
    drafts=st.integers(0, 99),
    spread=st.floats(0, 5),
    count=st.integers(1, 60),
    is_greedy=st.booleans(),
    lookup=st.booleans(),
)
def test_no_drafter_changes_a_text(
    seed: int, drafts: int, spread: float, count: int, is_greedy: bool, lookup: bool
) -> None:
    def sampler() -> Sampler:
        return greedy if is_greedy else make_sampler(4, 1.0, seed)

    drafter = PromptLookup() if lookup else DraftModel(FakeSession(chain(drafts, spread)))
    wanted = text_of(FakeSession(chain(seed, spread)), sampler(), count=count)
    session = FakeSession(chain(seed, spread))
    assert text_of(session, sampler(), Speculator(drafter, Costs()), count) == wanted


@pytest.fixture
def always_guessing(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(self: Costs, room: int) -> tuple[int, int]:
        return max((count for count in (1, 3) if count <= room), default=0), 0

    monkeypatch.setattr(Costs, "choose", choose)


@pytest.mark.usefixtures("always_guessing")
@pytest.mark.parametrize("draft_seed", [0, 1], ids=["a good draft", "a bad draft"])
def test_sampled_tokens_have_the_models_probabilities(draft_seed: int) -> None:
    model, pairs, accepted = chain(0), Counter[tuple[int, int]](), 0
    for seed in range(100):
        speculator = Speculator(DraftModel(FakeSession(chain(draft_seed) + chain(2, 0.3))), Costs())
        text = text_of(FakeSession(model), make_sampler(0, 1.0, seed), speculator)
        pairs.update(pairwise(text))
        accepted += speculator.acceptance.accepted
    assert accepted > 1000
    seen = np.array([[pairs[a, b] for b in range(VOCAB)] for a in range(VOCAB)])
    assert seen.sum() == 100 * CONTEXT
    weights = np.exp(model.astype(np.float64))
    expected = seen.sum(1, keepdims=True) * weights / weights.sum(1, keepdims=True)
    assert expected.min() > 5
    statistic = float(((seen - expected) ** 2 / expected).sum())
    assert statistic < 59.7  # 0.999 quantile of chi-squared, 30 degrees of freedom


def test_the_rule_for_a_wrong_distribution_would_fail(clock: Clock) -> None:
    # The bound above is one that the draft's own probabilities do not meet.
    weights, other = np.exp(chain(0)), np.exp(chain(0) + chain(2, 0.3))
    p, q = (w / w.sum(1, keepdims=True) for w in (weights, other))
    assert float((100 * CONTEXT / VOCAB * (p - q) ** 2 / p).sum()) > 10 * 59.7


# --- costs


def learned(steps: list[tuple[int, int, float]]) -> Costs:
    """Costs after steps of (guessed, accepted, seconds)."""
    costs = Costs()
    for guessed, accepted, seconds in steps:
        costs.learn(guessed, accepted, 0.0, seconds)
    return costs


def test_nothing_is_guessed_before_a_plain_step_was_timed() -> None:
    assert Costs().is_timing
    costs = learned([(0, 0, 1.0)] * 20)
    assert not costs.is_timing
    assert costs.choose(9)[0] > 0


def test_a_machine_that_becomes_faster_is_noticed() -> None:
    slow = [(0, 0, 2.0)] * FIRST + [(3, 1, 2.5)] * AGAIN
    costs = learned(slow)
    assert costs.is_timing  # guessing seemed to pay, so that no plain step was seen for long
    costs = learned([*slow, *[(0, 0, 1.0)] * 2, *[(3, 1, 2.5)] * 9])
    assert not costs.is_timing
    assert costs.plain == 1.0
    assert costs.choose(3)[0] < 3


def test_steps_without_an_idea_are_let_go_by(clock: Clock) -> None:
    asked = []

    class NoIdea:
        def guess(self, ids: Sequence[int], count: int, sampler: Sampler) -> list[int]:
            asked.append(len(ids))
            return []

    text_of(FakeSession(chain(), clock), greedy, Speculator(NoIdea(), Costs()))
    assert CONTEXT / 6 < len(asked) < CONTEXT / 3
    assert max(later - earlier for earlier, later in pairwise(asked)) <= 4


def test_right_guesses_bring_more_guesses_as_far_as_there_is_room() -> None:
    costs = learned([(0, 0, 1.0)] * FIRST + [(3, 3, 1.1)] * 9)
    assert [costs.choose(room)[0] for room in (0, 1, 2, 3, 6, 7, 99)] == [0, 1, 1, 3, 3, 7, 7]


def test_guesses_that_make_steps_slow_are_not_made() -> None:
    costs = learned([(0, 0, 1.0)] * 9 + [(count, count, 20.0) for count in COUNTS])
    assert costs.choose(9)[0] == 0


def test_time_that_was_saved_is_spent_on_looking_again() -> None:
    right = [(0, 0, 1.0)] * FIRST + [(3, 3, 1.1)] * 9
    assert learned([*right, *[(3, 0, 1.1)] * 9]).choose(9)[0] == 1  # it can be afforded
    assert learned([*[(0, 0, 1.0)] * FIRST, *[(3, 0, 1.1)] * 9]).choose(9)[0] == 0


def test_a_pause_lasts_until_a_guess_can_be_afforded() -> None:
    costs = learned([*[(0, 0, 1.0)] * FIRST, *[(3, 0, 1.1)] * 9])
    count, pause = costs.choose(9)
    assert count == 0
    for _ in range(pause - 1):
        costs.rest()
        assert costs.choose(9)[0] == 0
    costs.rest()
    assert costs.choose(9) == (1, 0)


@given(
    st.lists(
        st.tuples(st.sampled_from([0, *COUNTS]), st.integers(0, 7), st.floats(1e-6, 1e3)), max_size=20
    ),
    st.integers(-1, 9),
)  # fmt: skip
def test_the_number_of_guesses_is_always_one_of_a_few(
    steps: list[tuple[int, int, float]], room: int
) -> None:
    steps = [(guessed, min(accepted, guessed), seconds) for guessed, accepted, seconds in steps]
    costs = learned([*[(0, 0, 1.0)] * FIRST, *steps])
    count, pause = costs.choose(room)
    assert count in {0, *(count for count in COUNTS if count <= room)}
    assert pause >= 0
    assert 0 <= costs.right <= 1


# --- prompt lookup


def lookup(ids: list[int], count: int = 3) -> list[int]:
    return PromptLookup().guess(ids, count, greedy)


@pytest.mark.parametrize(
    ("ids", "guess"),
    [
        ([], []),
        ([1], []),
        ([1, 2], []),
        ([1, 2, 3, 4], []),
        ([1, 2, 9, 1, 2], [9, 1, 2]),
        ([1, 2, 8, 1, 2, 9, 1, 2], [9, 1, 2]),  # the last time counts
        ([5, 1, 2, 8, 6, 1, 2, 9, 5, 1, 2], [8, 6, 1]),  # a longer match counts more
        ([7, 7, 7], [7]),
        ([7, 7], []),
    ],
)
def test_what_was_said_will_be_said_again(ids: list[int], guess: list[int]) -> None:
    assert lookup(ids) == guess


def looked_up(ids: list[int], count: int) -> list[int]:
    """The same, by looking everywhere."""
    for size in range(LONGEST, SHORTEST - 1, -1):
        for end in range(len(ids) - 1, size - 1, -1):
            if ids[end - size : end] == ids[-size:]:
                return ids[end : end + count]
    return []


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(1, 5)), st.integers(1, 9))
def test_a_growing_text_is_looked_up_as_if_anew(
    text: list[int], growth: list[int], count: int
) -> None:
    drafter, length = PromptLookup(), 0
    for more in growth:
        length += more
        ids = text[:length]
        assert drafter.guess(ids, count, greedy) == looked_up(ids, count)


# --- the demo


def guesses_of(texts: Iterator[Any]) -> int:
    return sum(text.guesses.accepted for text in texts)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_50_greedy_texts_of_200_tokens_are_those_of_plain_decoding(
    demo: Callable[[str], Model], tales: list[str], precision: str
) -> None:
    model, options = demo(precision), {"greedy": True, "max_new_tokens": 200}
    model._costs.clear()
    plain = dict(model.generate_batch(tales, **options))  # type: ignore[arg-type]  # options by name
    texts = [model.generate(tale, **options) for tale in tales]  # type: ignore[arg-type]  # options by name
    assert [text.new_ids for text in texts] == [plain[n].new_ids for n in range(50)]
    if precision == "fp32":
        assert guesses_of(iter(texts)) > 100


@pytest.mark.parametrize("options", [{"greedy": True}, {"seed": 8}], ids=["greedy", "sampled"])
@pytest.mark.parametrize("drafted", [False, True], ids=["prompt lookup", "draft"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_guesses_change_a_text_of_the_demo(
    demo: Callable[[str], Model],
    tales: list[str],
    precision: str,
    drafted: bool,
    options: dict[str, Any],
) -> None:
    model, some = demo(precision), tales[:6]
    draft = demo("draft") if drafted else None
    model._costs.clear()
    texts = [model.generate(tale, draft=draft, max_new_tokens=100, **options) for tale in some]
    plain = [
        model.generate(tale, prompt_lookup=False, max_new_tokens=100, **options) for tale in some
    ]
    assert [text.new_ids for text in texts] == [text.new_ids for text in plain]
    assert [text.guesses for text in plain] == [Acceptance()] * len(some)
    if drafted and precision == "fp32":
        # How many are accepted depends on how long steps take here, and so on how many are made.
        assert sum(text.guesses.guessed for text in texts) > 0


def test_quantized_weights_beside_a_float_cache_are_not_guessed_for(
    demo: Callable[[str], Model], tales: list[str]
) -> None:
    model = demo("int8 --kv float")
    texts = [model.generate(tale, greedy=True, max_new_tokens=100) for tale in tales[:3]]
    texts += [model.generate(tale, draft=demo("draft"), max_new_tokens=100) for tale in tales[:3]]
    assert [text.guesses for text in texts] == [Acceptance()] * 6
    assert not model._exactness.may_merge_steps


def test_a_draft_with_another_tokenizer_is_refused(
    demo: Callable[[str], Model], bundle: Any
) -> None:
    import gpt2xl

    with pytest.raises(RequestError, match="draft model has another tokenizer"):
        demo("fp32").stream("Once", draft=gpt2xl.load(bundle))


def test_the_tokenizer_of_a_draft_is_compared_once(
    demo: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, draft, equal = demo("int8"), demo("draft"), Tokenizer.__eq__
    compared = []

    def counted(self: Tokenizer, other: object) -> bool:
        compared.append(other)
        return equal(self, other)

    monkeypatch.setattr(Tokenizer, "__eq__", counted)
    model._costs.clear()
    for _ in range(2):
        model.generate("Once", draft=draft, max_new_tokens=2)
    assert len(compared) == 1
