"""Samplers on a few numbers; no model."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl import RequestError, make_sampler
from gpt2xl.decoding.samplers import greedy, largest

FLOATS = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, -0.0, 1.0, float("-inf")])


def row(*values: float) -> npt.NDArray[np.float32]:
    """Logits."""
    return np.array(values, np.float32)


@st.composite
def logits_and_top_k(draw: st.DrawFn) -> tuple[npt.NDArray[np.float32], int]:
    """A row with many ties and at least one finite value; a top_k it has room for."""
    values = draw(st.lists(FLOATS, min_size=1, max_size=40).filter(lambda v: max(v) > -1e5))
    return row(*values), draw(st.integers(0, len(values)))


def softmax(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float64]:
    """Probabilities, the textbook way."""
    exp = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    return np.asarray(exp / exp.sum())


def test_greedy_takes_the_largest() -> None:
    assert greedy(row(0, 3, 1)) == 1


def test_greedy_takes_the_lowest_id_of_a_tie() -> None:
    assert greedy(row(0, 2, 1, 2, 2)) == 1


def test_of_a_tie_at_the_edge_the_lowest_ids_stay() -> None:
    assert largest(row(1, 3, 1, 2, 1), 3).tolist() == [1, 3, 0]
    assert largest(row(5, 5, 5, 5), 2).tolist() == [0, 1]


def test_top_k_0_keeps_the_whole_vocabulary() -> None:
    assert largest(row(1, 3, float("-inf"), 3), 0).tolist() == [1, 3, 0, 2]
    sample = make_sampler(top_k=0)
    assert {sample(row(0, 0, 0, 0, 0)) for _ in range(300)} == {0, 1, 2, 3, 4}


@settings(deadline=None)
@given(case=logits_and_top_k())
def test_exactly_k_ids_are_kept_largest_first_ties_by_id(
    case: tuple[npt.NDArray[np.float32], int],
) -> None:
    logits, top_k = case
    ranked = sorted(range(logits.size), key=lambda i: (-logits[i], i))
    assert largest(logits, top_k).tolist() == ranked[: top_k or None]


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


def test_the_logits_are_left_as_they_were() -> None:
    logits = row(1, 2, 3)
    make_sampler(top_k=2)(logits)
    assert logits.tolist() == [1, 2, 3]


@pytest.mark.parametrize("top_k", [3, 4, 10**9])
def test_top_k_above_the_vocabulary_is_all_of_it(top_k: int) -> None:
    assert largest(row(1, 3, 2), top_k).tolist() == [1, 2, 0]
    draws = [[make_sampler(k, seed=seed)(row(1, 1.5, 2)) for seed in range(50)] for k in (0, top_k)]
    assert draws[0] == draws[1]
    assert set(draws[0]) == {0, 1, 2}


def test_temperature_0_is_greedy() -> None:
    assert make_sampler(temperature=0)(row(1, 3, 3)) == 1
    assert make_sampler(temperature=0) is greedy


def test_negative_top_k_is_refused() -> None:
    with pytest.raises(RequestError, match=r"top_k has to be >= 0 .*, but is -1"):
        make_sampler(top_k=-1)


@pytest.mark.parametrize("temperature", [-1, float("nan"), float("inf"), float("-inf")])
def test_a_temperature_that_is_no_number_from_0_is_refused(temperature: float) -> None:
    with pytest.raises(RequestError, match=f"temperature .*, but is {temperature}"):
        make_sampler(temperature=temperature)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(RequestError, match="seed has to be >= 0, but is -1"):
        make_sampler(seed=-1)


def test_refusals_are_value_errors() -> None:
    with pytest.raises(ValueError, match="top_k"):
        make_sampler(top_k=-1)
