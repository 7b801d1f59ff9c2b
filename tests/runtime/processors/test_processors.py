"""Logits processors on a few numbers; no model."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl.processors.penalties import no_repeat_ngram, repetition_penalty
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.ranking import largest
from gpt2xl.processors.scaling import temperature
from gpt2xl.processors.truncation import top_k

INF = float("inf")
FLOATS = st.floats(-1e4, 1e4, width=32) | st.sampled_from([0.0, -0.0, 1.0, -INF])


def row(*values: float) -> npt.NDArray[np.float32]:
    """Logits."""
    return np.array(values, np.float32)


@st.composite
def logits_and_count(draw: st.DrawFn) -> tuple[npt.NDArray[np.float32], int]:
    """Logits with many ties and at least one finite value, and a number that they have room for."""
    values = draw(st.lists(FLOATS, min_size=1, max_size=40).filter(lambda v: max(v) > -1e5))
    return row(*values), draw(st.integers(0, len(values)))


def test_of_a_tie_at_the_edge_the_lowest_ids_stay() -> None:
    assert largest(row(1, 3, 1, 2, 1), 3).tolist() == [1, 3, 0]
    assert largest(row(5, 5, 5, 5), 2).tolist() == [0, 1]


@pytest.mark.parametrize("count", [0, 3, 4, 10**9])
def test_largest_of_0_or_of_more_than_there_are_is_all(count: int) -> None:
    assert largest(row(1, 3, 2), count).tolist() == [1, 2, 0]
    assert largest(row(1, 3, -INF), count).tolist() == [1, 0, 2]


@settings(deadline=None)
@given(case=logits_and_count())
def test_exactly_k_ids_are_kept_largest_first_ties_by_id(
    case: tuple[npt.NDArray[np.float32], int],
) -> None:
    logits, count = case
    ranked = sorted(range(logits.size), key=lambda i: (-logits[i], i))
    assert largest(logits, count).tolist() == ranked[: count or None]


@pytest.mark.parametrize("size", [4096, 50257])
@pytest.mark.parametrize("count", [1, 40, 256, 257, 4095])
def test_large_vocabularies_are_ranked_alike(size: int, count: int) -> None:
    logits = np.random.default_rng(count).normal(0, 3, size).astype(np.float32).round(1)
    ranked = sorted(range(size), key=lambda i: (-logits[i], i))
    assert largest(logits, count).tolist() == ranked[:count]


@settings(deadline=None)
@given(case=logits_and_count())
def test_top_k_excludes_all_but_the_largest(case: tuple[npt.NDArray[np.float32], int]) -> None:
    logits, count = case
    count = max(1, count)
    kept = set(largest(logits, count).tolist())
    expected = [value if i in kept else -INF for i, value in enumerate(logits.tolist())]
    assert top_k(count)([], logits).tolist() == expected


def test_temperature_changes_probabilities_as_a_division_does() -> None:
    logits = row(2, -1, 0.5)
    changed = temperature(0.5)([], logits)
    assert np.allclose(changed - changed[0], (logits - logits[0]) / 0.5)


def test_temperature_keeps_extreme_logits_finite() -> None:
    assert temperature(1e-320)([], row(3e38, -3e38))[0] == 0
    assert np.isfinite(temperature(1e-320)([], row(3e38, -3e38))).all()


def test_a_penalty_divides_positive_logits_and_multiplies_negative_ones_once() -> None:
    changed = repetition_penalty(2.0)([0, 1, 1, 1], row(4, -4, 4, 0))
    assert changed.tolist() == [2, -8, 4, 0]


def test_a_repeated_ngram_is_excluded() -> None:
    assert no_repeat_ngram(3)([1, 2, 3, 0, 1, 2], row(0, 0, 0, 0)).tolist() == [0, 0, 0, -INF]
    assert no_repeat_ngram(3)([1, 2, 3, 0, 2], row(0, 0, 0, 0)).tolist() == [0, 0, 0, 0]
    assert no_repeat_ngram(3)([1], row(0, 0)).tolist() == [0, 0]


def test_an_ngram_of_one_excludes_every_id_of_the_text() -> None:
    assert no_repeat_ngram(1)([0, 2], row(0, 0, 0)).tolist() == [-INF, 0, -INF]


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(1, 4))
def test_no_ngram_occurs_twice_where_excluded_ids_are_not_chosen(ids: list[int], size: int) -> None:
    changed = no_repeat_ngram(size)(ids, row(0, 0, 0, 0))
    grams = {tuple(ids[i : i + size]) for i in range(len(ids) - size + 1)}
    for token_id in range(4):
        completed = tuple([*ids, token_id][-size:])
        repeats = len(ids) + 1 >= size and completed in grams
        assert (changed[token_id] == -INF) == repeats


@pytest.mark.parametrize(
    "processor", [top_k(1), temperature(0.5), repetition_penalty(2.0), no_repeat_ngram(1)]
)
def test_the_arguments_are_left_unchanged(processor: LogitsProcessor) -> None:
    logits, ids = row(1, 2, 3), [0, 1]
    processor(ids, logits)
    assert (logits.tolist(), ids) == ([1, 2, 3], [0, 1])
