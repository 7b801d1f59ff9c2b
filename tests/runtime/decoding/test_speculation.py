"""Guesses change no text, keep the model's probabilities, and stop where they do not save time."""

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
from tests.runtime.fakes import FakeSession

from gpt2xl import Acceptance, GenerationOptions, Gpt2xlWarning, Model, RequestError
from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.drafting import LONGEST, SHORTEST, DraftModel, PromptLookup
from gpt2xl.decoding.loop import Request, generate_tokens
from gpt2xl.decoding.speculation import (
    AGAIN,
    COUNTS,
    FIRST,
    MAY_LOSE,
    Costs,
    Speculator,
    difference,
)
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.logits import Ids, StepLogits, TopLogits
from gpt2xl.sessions.protocol import Cache
from gpt2xl.text.tokenizer import Tokenizer

PRECISIONS = ["fp32", "int8", "int8-weight", "int4"]
# int4 in blocks of 64 gets no draft and no shared steps, and says so.
WARNS = pytest.mark.filterwarnings(
    "ignore:texts are generated one after the other", "ignore:the draft model is not used"
)
VOCAB, CONTEXT = 6, 256
Transitions = npt.NDArray[np.float32]  # [VOCAB, VOCAB], logits of the next id after each


class Clock:
    """A clock that advances only when a test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


@dataclass(eq=False)
class TimedSession(FakeSession):
    """A step takes a second, and a twentieth for each further id."""

    clock: Clock = field(default_factory=Clock)
    noise: float = 0.0
    """What is added to the first logit where several positions are kept."""

    def forward(
        self, input_ids: Ids, cache: Cache, *, keep: int = 1, cancel: Cancellation | None = None
    ) -> StepLogits:
        logits = super().forward(input_ids, cache, keep=keep, cancel=cancel)
        self.clock.now += 1 + 0.05 * (input_ids.shape[1] - 1)
        if keep > 1:
            logits[..., 0] += np.float32(self.noise)
        return logits


def markov(
    transitions: Transitions, clock: Clock | None = None, noise: float = 0.0
) -> TimedSession:
    """A session whose logits depend on the last id only."""
    return TimedSession(
        lambda ids: transitions[ids[-1]],
        n_positions=CONTEXT,
        clock=clock or Clock(),
        noise=noise,
    )


@dataclass
class Oracle:
    """A drafter that knows the text, and guesses it or something else."""

    text: list[int]
    lies: bool = False

    def guess(self, ids: Sequence[int], count: int, chain: Chain) -> list[int]:
        return [(t + self.lies) % VOCAB for t in self.text[len(ids) : len(ids) + count]]


def transitions(seed: int = 0, spread: float = 1.0) -> Transitions:
    values = np.random.default_rng(seed).normal(0, spread, (VOCAB, VOCAB))
    return values.astype(np.float32)


def text_of(
    session: TimedSession,
    chain: Chain,
    speculator: Speculator | None = None,
    count: int = CONTEXT,
) -> list[int]:
    """The prompt [0] and what follows."""
    request = Request([0], chain, count)
    tokens = generate_tokens(Context(session), request, set(), speculator)
    return [0, *(token.id for token in tokens)]


def greedy() -> Chain:
    return GenerationOptions(greedy=True).chain(None)


def sampled(seed: int, top_k: int = 0) -> Chain:
    return GenerationOptions(top_k=top_k, temperature=1.0).chain(seed)


CHAINS: dict[str, Callable[[], Chain]] = {"greedy": greedy, "sampled": lambda: sampled(3)}


@pytest.fixture(params=CHAINS)
def make_chain(request: pytest.FixtureRequest) -> Callable[[], Chain]:
    return CHAINS[request.param]


def test_a_drafter_that_is_always_right_saves_most_steps(
    clock: Clock, make_chain: Callable[[], Chain]
) -> None:
    plain = markov(transitions(), clock)
    wanted = text_of(plain, make_chain())
    began, session, speculator = (
        clock.now,
        markov(transitions(), clock),
        Speculator(Oracle(wanted), Costs()),
    )
    assert text_of(session, make_chain(), speculator) == wanted
    # Nobody looks at the last step, so its guesses are not counted.
    assert speculator.acceptance.guessed == speculator.acceptance.accepted > CONTEXT * 0.8
    assert len(session.fed) < len(plain.fed) / 5
    assert clock.now - began < began / 4
    assert speculator._costs.right > 0.99
    assert speculator._costs.saved > 0


def test_a_drafter_that_is_always_wrong_is_given_up(
    clock: Clock, make_chain: Callable[[], Chain]
) -> None:
    wanted = text_of(markov(transitions(), clock), make_chain())
    plain = clock.now
    session, speculator = (
        markov(transitions(), clock),
        Speculator(Oracle(wanted, lies=True), Costs()),
    )
    assert text_of(session, make_chain(), speculator) == wanted
    assert speculator.acceptance.accepted == 0
    assert 0 < speculator.acceptance.guessed < CONTEXT / 4
    assert speculator._costs.right < 0.3
    assert clock.now - plain < plain * (1 + MAY_LOSE) + 3


def test_later_texts_do_not_repeat_the_loss_of_the_first(clock: Clock) -> None:
    wanted = text_of(markov(transitions(), clock), greedy())
    plain, costs, lost = clock.now, Costs(), []
    for _ in range(6):
        began, speculator = clock.now, Speculator(Oracle(wanted, lies=True), costs)
        assert text_of(markov(transitions(), clock), greedy(), speculator) == wanted
        lost.append(clock.now - began - plain)
    assert lost[0] > 1
    assert sum(lost[1:]) < 5 * plain * MAY_LOSE
    assert max(lost[1:]) < lost[0]


def test_one_slow_moment_does_not_stop_guessing_forever(clock: Clock) -> None:
    wanted, costs = text_of(markov(transitions(), clock), greedy()), Costs()
    plain = clock.now
    text_of(markov(transitions(), clock), greedy(), Speculator(Oracle(wanted), costs))
    costs.steps = dict.fromkeys(COUNTS, 3.0)
    costs.saved = -100 * plain
    took = []
    for _ in range(40):
        began = clock.now
        text_of(markov(transitions(), clock), greedy(), Speculator(Oracle(wanted), costs))
        took.append(clock.now - began)
    assert took[0] > plain * 0.9
    assert took[-1] < plain / 4


def test_costs_start_anew_with_the_first_step_of_a_text(clock: Clock) -> None:
    wanted, costs = text_of(markov(transitions(), clock), greedy()), Costs()
    speculators = [Speculator(Oracle(wanted), costs) for _ in range(2)]
    for speculator in speculators:
        assert text_of(markov(transitions(), clock), greedy(), speculator) == wanted
        costs.right = 0.0  # as a bad text would leave it
    assert speculators[1].acceptance.accepted > CONTEXT / 2


def test_top_logits_cannot_be_compared() -> None:
    row = np.array([1.0, 3.0], np.float32)
    assert difference(row, row + np.float32(0.5)) == 0.5
    assert difference(TopLogits(row, np.array([4, 7])), row) == np.inf


def test_savings_of_one_text_do_not_let_the_next_lose_more(clock: Clock) -> None:
    wanted, costs = text_of(markov(transitions(), clock), greedy()), Costs()
    plain = clock.now
    text_of(markov(transitions(), clock), greedy(), Speculator(Oracle(wanted), costs))
    began = clock.now
    assert began - plain < plain / 4
    text_of(markov(transitions(), clock), greedy(), Speculator(Oracle(wanted, lies=True), costs))
    assert clock.now - began < plain * (1 + MAY_LOSE) + 3


@pytest.mark.parametrize(("noise", "tolerance"), [(5.0, 0.0), (1e-4, 0.0), (5.0, 1e-3)])
def test_logits_that_differ_in_longer_steps_stop_the_guessing(
    clock: Clock, make_chain: Callable[[], Chain], noise: float, tolerance: float
) -> None:
    wanted = text_of(markov(transitions(), clock), make_chain())
    session, speculator = (
        markov(transitions(), clock, noise),
        Speculator(Oracle(wanted), Costs(), tolerance),
    )
    assert text_of(session, make_chain(), speculator) == wanted
    assert speculator.acceptance == Acceptance()
    assert len(session.fed) <= CONTEXT + 2


def test_a_difference_within_the_tolerance_does_not_matter(clock: Clock) -> None:
    wanted = text_of(markov(transitions(), clock), greedy())
    session, speculator = (
        markov(transitions(), clock, 1e-6),
        Speculator(Oracle(wanted), Costs(), 1e-3),
    )
    assert text_of(session, greedy(), speculator) == wanted
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
    def make_chain() -> Chain:
        return greedy() if is_greedy else sampled(seed, top_k=4)

    drafter = PromptLookup() if lookup else DraftModel(markov(transitions(drafts, spread)))
    wanted = text_of(markov(transitions(seed, spread)), make_chain(), count=count)
    session = markov(transitions(seed, spread))
    assert text_of(session, make_chain(), Speculator(drafter, Costs()), count) == wanted


@pytest.fixture
def always_guessing(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(self: Costs, room: int) -> tuple[int, int]:
        return max((count for count in (1, 3) if count <= room), default=0), 0

    monkeypatch.setattr(Costs, "choose", choose)


@pytest.mark.usefixtures("always_guessing")
@pytest.mark.parametrize("draft_seed", [0, 1], ids=["a good draft", "a bad draft"])
def test_sampled_tokens_have_the_models_probabilities(draft_seed: int) -> None:
    model, pairs, accepted = transitions(0), Counter[tuple[int, int]](), 0
    for seed in range(100):
        speculator = Speculator(
            DraftModel(markov(transitions(draft_seed) + transitions(2, 0.3))), Costs()
        )
        text = text_of(markov(model), sampled(seed), speculator)
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


def test_the_drafts_own_probabilities_would_fail_this_test(clock: Clock) -> None:
    # The bound above is one that the draft's own probabilities do not meet.
    weights, other = np.exp(transitions(0)), np.exp(transitions(0) + transitions(2, 0.3))
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


def test_plain_steps_are_timed_again_after_a_while() -> None:
    slow = [(0, 0, 2.0)] * FIRST + [(3, 1, 2.5)] * AGAIN
    costs = learned(slow)
    assert costs.is_timing  # guessing seemed to pay, so that no plain step was seen for long
    costs = learned([*slow, *[(0, 0, 1.0)] * 2, *[(3, 1, 2.5)] * 9])
    assert not costs.is_timing
    assert costs.plain == 1.0
    assert costs.choose(3)[0] < 3


def test_a_drafter_without_guesses_is_asked_less_often(clock: Clock) -> None:
    asked = []

    class NoIdea:
        def guess(self, ids: Sequence[int], count: int, chain: Chain) -> list[int]:
            asked.append(len(ids))
            return []

    text_of(markov(transitions(), clock), greedy(), Speculator(NoIdea(), Costs()))
    assert CONTEXT / 6 < len(asked) < CONTEXT / 3
    assert max(later - earlier for earlier, later in pairwise(asked)) <= 4


def test_accepted_guesses_lead_to_more_guesses_within_the_room() -> None:
    costs = learned([(0, 0, 1.0)] * FIRST + [(3, 3, 1.1)] * 9)
    assert [costs.choose(room)[0] for room in (0, 1, 2, 3, 6, 7, 99)] == [0, 1, 1, 3, 3, 7, 7]


def test_guesses_that_make_steps_slow_are_not_made() -> None:
    costs = learned([(0, 0, 1.0)] * 9 + [(count, count, 20.0) for count in COUNTS])
    assert costs.choose(9)[0] == 0


def test_saved_time_is_spent_on_trying_again() -> None:
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
    return PromptLookup().guess(ids, count, greedy())


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
def test_the_continuation_of_an_earlier_ngram_is_guessed(ids: list[int], guess: list[int]) -> None:
    assert lookup(ids) == guess


def looked_up(ids: list[int], count: int) -> list[int]:
    """The same guess by a search of the whole text."""
    for size in range(LONGEST, SHORTEST - 1, -1):
        for end in range(len(ids) - 1, size - 1, -1):
            if ids[end - size : end] == ids[-size:]:
                return ids[end : end + count]
    return []


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(1, 5)), st.integers(1, 9))
def test_lookup_in_a_growing_text_equals_a_full_search(
    text: list[int], growth: list[int], count: int
) -> None:
    drafter, length = PromptLookup(), 0
    for more in growth:
        length += more
        ids = text[:length]
        assert drafter.guess(ids, count, greedy()) == looked_up(ids, count)


# --- the demo


def fresh(model: Model) -> Model:
    """The same model without the costs measured in earlier texts."""
    return Model(model.config, model.tokenizer, model.session, model.bundle)


def guesses_of(texts: Iterator[Any]) -> int:
    return sum(text.guesses.accepted for text in texts)


@WARNS
@pytest.mark.parametrize("precision", PRECISIONS)
def test_50_greedy_texts_of_200_tokens_are_those_of_plain_decoding(
    demo: Callable[[str], Model], tales: list[str], precision: str
) -> None:
    model, options = fresh(demo(precision)), {"greedy": True, "max_new_tokens": 200}
    plain = dict(model.generate_batch(tales, **options))  # type: ignore[arg-type]  # options by name
    texts = [model.generate(tale, **options) for tale in tales]  # type: ignore[arg-type]  # options by name
    assert [text.new_ids for text in texts] == [plain[n].new_ids for n in range(50)]
    if precision == "fp32":
        assert guesses_of(iter(texts)) > 100


@WARNS
@pytest.mark.parametrize("options", [{"greedy": True}, {"seed": 8}], ids=["greedy", "sampled"])
@pytest.mark.parametrize("drafted", [False, True], ids=["prompt lookup", "draft"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_guesses_change_no_text_of_the_demo(
    demo: Callable[[str], Model],
    tales: list[str],
    precision: str,
    drafted: bool,
    options: dict[str, Any],
) -> None:
    model, some = fresh(demo(precision)), tales[:6]
    draft = demo("draft") if drafted else None
    texts = [model.generate(tale, draft=draft, max_new_tokens=100, **options) for tale in some]
    plain = [
        model.generate(tale, prompt_lookup=False, max_new_tokens=100, **options) for tale in some
    ]
    assert [text.new_ids for text in texts] == [text.new_ids for text in plain]
    assert [text.guesses for text in plain] == [Acceptance()] * len(some)
    if drafted and precision == "fp32":
        # How many are accepted depends on how long steps take here, and so on how many are made.
        assert sum(text.guesses.guessed for text in texts) > 0


def test_quantized_weights_with_a_float_cache_get_no_guesses(
    demo: Callable[[str], Model], tales: list[str]
) -> None:
    model, draft = fresh(demo("int8 --kv float")), demo("draft")
    texts = [model.generate(tale, greedy=True, max_new_tokens=100) for tale in tales[:3]]
    with pytest.warns(Gpt2xlWarning, match="the draft model is not used: .*--kv int8") as warned:
        texts += [model.generate(tale, draft=draft, max_new_tokens=100) for tale in tales[:3]]
    assert [text.guesses for text in texts] == [Acceptance()] * 6
    assert len(warned) == 1  # once a model
    assert warned[0].filename == __file__


def test_a_draft_with_another_tokenizer_is_refused(
    demo: Callable[[str], Model], bundle: Any
) -> None:
    import gpt2xl

    with pytest.raises(RequestError, match="draft model has another tokenizer"):
        demo("fp32").stream("Once", draft=gpt2xl.load(bundle))


def test_the_tokenizer_of_a_draft_is_compared_once(
    demo: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, draft, equal = fresh(demo("int8")), demo("draft"), Tokenizer.__eq__
    compared = []

    def counted(self: Tokenizer, other: object) -> bool:
        compared.append(other)
        return equal(self, other)

    monkeypatch.setattr(Tokenizer, "__eq__", counted)
    for _ in range(2):
        model.generate("Once", draft=draft, max_new_tokens=2)
    assert len(compared) == 1
