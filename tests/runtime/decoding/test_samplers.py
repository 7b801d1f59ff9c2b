"""Samplers, and the chains that options make, on a few numbers; no model."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.chains import chain_of

from gpt2xl import GenerationOptions, RequestError
from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.samplers import Categorical, greedy
from gpt2xl.processors.ranking import largest
from gpt2xl.sessions.protocol import Logits, TopLogits

FLOATS = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, -0.0, 1.0, float("-inf")])


def row(*values: float) -> npt.NDArray[np.float32]:
    """Logits."""
    return np.array(values, np.float32)


def make_sampler(
    top_k: int = 40, temperature: float = 1.0, seed: int = 0
) -> Callable[[Logits], int]:
    """The chain of the options, which looks at no ids."""
    chain = chain_of(GenerationOptions(top_k=top_k, temperature=temperature), seed)
    return lambda logits: chain.choose([], logits)


@st.composite
def logits_and_top_k(draw: st.DrawFn) -> tuple[npt.NDArray[np.float32], int]:
    """A row with many ties and at least one finite value; a top_k it has room for."""
    values = draw(st.lists(FLOATS, min_size=1, max_size=40).filter(lambda v: max(v) > -1e5))
    return row(*values), draw(st.integers(0, len(values)))


def softmax(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities, the textbook way."""
    exp = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    return np.asarray(exp / exp.sum())


def plain_draw(logits: Logits, top_k: int, temperature: float, rng: np.random.Generator) -> int:
    """The draw in one function, as it has always been: what seeds mean must not change."""
    kept = largest(logits, top_k)
    values = logits[kept].astype(np.float64)
    cumulative = np.exp((values - values[0]) / temperature).cumsum()
    drawn = cumulative.searchsorted(rng.random() * cumulative[-1], side="right")
    return int(kept[min(int(drawn), kept.size - 1)])


@pytest.mark.parametrize("top_k", [0, 1, 3, 40, 300, 10**6])
@pytest.mark.parametrize("temperature", [0.3, 0.8, 1.0, 2.5])
def test_a_seed_draws_what_it_has_always_drawn(top_k: int, temperature: float) -> None:
    source = np.random.default_rng(5)
    sample, rng = make_sampler(top_k, temperature, 7), np.random.default_rng(7)
    for _ in range(40):
        logits = source.normal(0, 3, 5000).astype(np.float32)
        assert sample(logits) == plain_draw(logits, top_k, temperature, rng)


def test_greedy_takes_the_largest() -> None:
    assert greedy(row(0, 3, 1)) == 1


def test_greedy_takes_the_lowest_id_of_a_tie() -> None:
    assert greedy(row(0, 2, 1, 2, 2)) == 1


def test_top_k_0_keeps_the_whole_vocabulary() -> None:
    sample = make_sampler(top_k=0)
    assert {sample(row(0, 0, 0, 0, 0)) for _ in range(300)} == {0, 1, 2, 3, 4}


@settings(deadline=None)
@given(
    case=logits_and_top_k(),
    temperature=st.floats(1e-3, 1e3),
    seed=st.integers(0, 2**64),
)
def test_a_drawn_id_is_among_the_k_largest_and_possible(
    case: tuple[npt.NDArray[np.float32], int], temperature: float, seed: int
) -> None:
    logits, top_k = case
    drawn = make_sampler(top_k, temperature, seed)(logits)
    assert drawn in sorted(range(logits.size), key=lambda i: (-logits[i], i))[: top_k or None]
    assert logits[drawn] > -np.inf


@settings(deadline=None)
@given(case=logits_and_top_k(), seed=st.integers(0, 2**32))
def test_top_k_1_is_greedy(case: tuple[npt.NDArray[np.float32], int], seed: int) -> None:
    assert make_sampler(1, seed=seed)(case[0]) == greedy(case[0])


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("top_k", "temperature"), [(6, 1.0), (6, 0.5), (6, 3.0), (0, 1.0)])
def test_frequencies_match_softmax(top_k: int, temperature: float, seed: int) -> None:
    logits = row(2, -1, 0.5, 1, 0, 1.5)
    sample = make_sampler(top_k, temperature, seed)
    drawn = np.bincount([sample(logits) for _ in range(20_000)], minlength=6)
    expected = softmax(logits, temperature) * 20_000
    # Pearson's chi-squared with 5 degrees of freedom is above 35.9 once in a million samples.
    assert ((drawn - expected) ** 2 / expected).sum() < 35.9


def test_frequencies_among_the_kept_match_their_softmax() -> None:
    logits = row(1, 3, -2, 2, 0)
    sample = make_sampler(top_k=3, temperature=2, seed=5)
    drawn = np.bincount([sample(logits) for _ in range(20_000)], minlength=5)
    expected = softmax(logits[[0, 1, 3]], 2) * 20_000
    assert drawn[2] == drawn[4] == 0
    # 2 degrees of freedom: above 27.6 once in a million samples.
    assert ((drawn[[0, 1, 3]] - expected) ** 2 / expected).sum() < 27.6


def test_the_same_seed_draws_the_same_ids() -> None:
    logits = np.random.default_rng(7).normal(size=1000).astype(np.float32)
    first, second, other = (make_sampler(seed=seed) for seed in (3, 3, 4))
    drawn = [first(logits) for _ in range(50)]
    assert drawn == [second(logits) for _ in range(50)]
    assert drawn != [other(logits) for _ in range(50)]


def test_a_seed_keeps_its_meaning_across_platforms_and_versions() -> None:
    sample = make_sampler(top_k=0, seed=42)
    drawn = [sample(row(0, 1, 2, 3)) for _ in range(12)]
    assert drawn == [2, 3, 2, 2, 3, 0, 2, 2, 3, 3, 3, 1]


def test_impossible_ids_are_never_drawn() -> None:
    never = float("-inf")
    sample = make_sampler(top_k=4)
    assert {sample(row(never, 1, never, 1)) for _ in range(200)} == {1, 3}


def test_extreme_logits_and_temperatures_give_ids_and_no_warning() -> None:
    assert make_sampler(top_k=2, temperature=1e-6)(row(3e38, -3e38, 0)) == 0
    assert make_sampler(top_k=3, temperature=1e-320)(row(1, 3, 2)) == 1
    assert make_sampler(top_k=0, temperature=1e300)(row(-3e38, -3e38)) in (0, 1)


@pytest.mark.parametrize("values", [(float("-inf"),) * 2, (float("nan"),) * 2, (np.inf, 1.0)])
def test_logits_that_leave_no_id_are_refused(values: tuple[float, ...]) -> None:
    with pytest.raises(RequestError, match="there is no token to choose"):
        Categorical(0)(row(*values))


@pytest.mark.parametrize("top_k", [3, 4, 10**9])
def test_a_top_k_above_the_vocabulary_draws_from_all_of_it(top_k: int) -> None:
    draws = [[make_sampler(k, seed=seed)(row(1, 1.5, 2)) for seed in range(50)] for k in (0, top_k)]
    assert draws[0] == draws[1]
    assert set(draws[0]) == {0, 1, 2}


def test_temperature_0_is_greedy() -> None:
    assert make_sampler(temperature=0)(row(1, 3, 3)) == 1
    assert chain_of(GenerationOptions(temperature=0), None) == Chain((), greedy, 1)


@pytest.mark.parametrize(
    ("options", "needed"),
    [
        (GenerationOptions(), 40),
        (GenerationOptions(top_k=0), 0),
        (GenerationOptions(greedy=True), 1),
        (GenerationOptions(temperature=0), 1),
        (GenerationOptions(repetition_penalty=1.1), 0),
        (GenerationOptions(greedy=True, no_repeat_ngram_size=2), 0),
        (GenerationOptions(processors=(lambda ids, logits: logits,)), 0),
        (GenerationOptions(sampler=greedy), 0),
    ],
)
def test_a_chain_says_how_many_of_the_largest_logits_it_needs(
    options: GenerationOptions, needed: int
) -> None:
    assert chain_of(options, 1).needed_logits == needed


@settings(deadline=None)
@given(case=logits_and_top_k(), seed=st.integers(0, 99), more=st.integers(0, 5))
def test_the_needed_logits_give_the_id_that_all_give(
    case: tuple[npt.NDArray[np.float32], int], seed: int, more: int
) -> None:
    logits, top_k = case
    for options in (GenerationOptions(top_k=top_k), GenerationOptions(greedy=True)):
        whole, part = chain_of(options, seed), chain_of(options, seed)
        if whole.needed_logits:
            ids = np.sort(largest(logits, min(logits.size, part.needed_logits + more)))
            top = TopLogits(logits[ids], ids)
            assert part.choose([], top) == whole.choose([], logits)


def test_a_processor_sees_the_ids_and_changes_the_choice() -> None:
    seen = []

    def forbid_last(ids: object, logits: Logits) -> Logits:
        seen.append(ids)
        changed = logits.copy()
        changed[-1] = -np.inf
        return changed

    chain = chain_of(GenerationOptions(greedy=True, processors=(forbid_last,)), None)
    assert chain.choose([7, 8], row(0, 1, 2)) == 1
    assert seen == [[7, 8]]


def test_a_sampler_of_ones_own_gets_the_processed_logits() -> None:
    def last_possible(logits: Logits) -> int:
        return int(np.flatnonzero(np.isfinite(logits))[-1])

    chain = chain_of(GenerationOptions(sampler=last_possible, top_k=2), None)
    assert chain.choose([], row(1, 3, 2, 0)) == 2


def test_a_processor_that_changes_the_shape_is_refused() -> None:
    chain = Chain((lambda ids, logits: logits[:1],))
    with pytest.raises(
        RequestError, match=r"an array of shape \(1,\), not an array of shape \(3,\)"
    ):
        chain.choose([], row(1, 2, 3))


@pytest.mark.parametrize("chosen", [-1, 3])
def test_a_sampler_that_leaves_the_vocabulary_is_refused(chosen: int) -> None:
    with pytest.raises(RequestError, match=f"chose id {chosen} of 3 ids"):
        Chain((), lambda logits: chosen).choose([], row(1, 2, 3))


@pytest.mark.parametrize("returned", [None, [1.0, 2.0, 3.0]])
def test_a_processor_that_returns_no_array_is_refused(returned: Any) -> None:
    chain = chain_of(GenerationOptions(processors=(lambda ids, logits: returned,)), 1)
    with pytest.raises(RequestError, match=f"returned {type(returned).__name__}, not an array"):
        chain.choose([], row(1, 2, 3))


def test_a_processor_cannot_change_what_the_model_gave() -> None:
    def write(ids: object, logits: Logits) -> Logits:
        logits[0] = 9
        return logits

    logits = row(1, 2, 3)
    with pytest.raises(ValueError, match="read-only"):
        Chain((write,)).choose([], logits)
    assert logits.tolist() == [1, 2, 3]


@pytest.mark.parametrize("chosen", [None, float("nan"), 1.7, "1"])
def test_a_sampler_that_chooses_no_id_is_refused(chosen: Any) -> None:
    with pytest.raises(RequestError, match="which is not an id"):
        Chain((), lambda logits: chosen).choose([], row(1, 2, 3))


@pytest.mark.parametrize("value", [-np.inf, np.nan, np.inf])
@pytest.mark.parametrize("options", [{"greedy": True}, {"top_k": 0}, {"top_k": 2}], ids=str)
def test_where_nothing_can_be_chosen_that_is_said(options: dict[str, Any], value: float) -> None:
    def exclude_all(ids: object, logits: Logits) -> Logits:
        return np.full_like(logits, value)

    chain = chain_of(GenerationOptions(processors=(exclude_all,), **options), 1)
    with pytest.raises(RequestError, match="there is no token to choose"):
        chain.choose([], row(1, 2, 3))


def test_an_extreme_penalty_gives_no_warning() -> None:
    chain = chain_of(GenerationOptions(greedy=True, repetition_penalty=1e-300), None)
    with pytest.raises(RequestError, match="there is no token to choose"):
        chain.choose([0], row(3, 2, 1))
