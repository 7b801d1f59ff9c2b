"""Processors and samplers that transformers lacks, beside plain implementations of what their authors describe."""

import math
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl.decoding.samplers import Categorical, Mirostat
from gpt2xl.processors.dry import dry
from gpt2xl.processors.penalties import (
    frequency_penalty,
    no_repeat_ngram,
    presence_penalty,
    repetition_penalty,
)
from gpt2xl.processors.scaling import dynamic_temperature, temperature
from gpt2xl.processors.truncation import top_n_sigma
from gpt2xl.processors.xtc import xtc

INF = math.inf
Row = npt.NDArray[np.float32]
ids_of_8 = st.lists(st.integers(0, 7), max_size=40)
checked = settings(deadline=None, max_examples=200)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    """Logits with ties and ids at -inf, at least one finite."""
    size = draw(st.integers(8, 400))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = rng.normal(0, draw(st.sampled_from([0.3, 2, 8])), size)
    logits = logits.round(draw(st.sampled_from([0, 1, 9])))
    logits[rng.random(size) < draw(st.sampled_from([0, 0.3, 0.95]))] = -INF
    logits[rng.integers(size)] = 0.5
    return logits.astype(np.float32)


def softmax(logits: Row) -> list[float]:
    weights = [math.exp(value - max(logits.tolist())) for value in logits.tolist()]
    return [weight / math.fsum(weights) for weight in weights]


# --- what the text holds


@checked
@given(rows(), ids_of_8, st.integers(0, 40), st.floats(-2, 2))
def test_presence_and_frequency_count_generated_tokens(
    logits: Row, ids: list[int], prompt: int, penalty: float
) -> None:
    counts = Counter(ids[prompt:])
    presence, frequency = logits.copy(), logits.copy()
    for token_id, count in counts.items():
        presence[token_id] -= penalty
        frequency[token_id] -= penalty * count
    np.testing.assert_allclose(presence_penalty(penalty, prompt)(ids, logits), presence, 1e-5, 1e-5)
    np.testing.assert_allclose(
        frequency_penalty(penalty, prompt)(ids, logits), frequency, 1e-5, 1e-5
    )


@given(rows(), ids_of_8, st.integers(1, 50))
def test_a_window_leaves_earlier_repetitions_free(logits: Row, ids: list[int], window: int) -> None:
    expected = repetition_penalty(1.3)(ids[-window:], logits)
    assert repetition_penalty(1.3, window)(ids, logits).tolist() == expected.tolist()


def plain_dry(
    ids: list[int], token_id: int, multiplier: float, base: float, allowed: int, breakers: set[int]
) -> float:
    """The penalty of one id, by comparing the end of the text with every place before."""
    if token_id in breakers:
        return 0.0
    longest = 0
    for place in range(1, len(ids)):
        if ids[place] == token_id:
            length = 0
            while (
                length < place
                and ids[place - 1 - length] == ids[-1 - length]
                and ids[-1 - length] not in breakers
            ):
                length += 1
            longest = max(longest, length)
    return multiplier * base ** (longest - allowed) if longest >= allowed else 0.0


@checked
@given(
    ids=st.lists(st.integers(0, 3), max_size=60) | ids_of_8 | st.just([1] * 50),
    base=st.floats(1, 3),
    allowed=st.integers(1, 4),
    breakers=st.sets(st.integers(0, 7), max_size=2),
    window=st.just(0) | st.integers(1, 70),
)
def test_dry(ids: list[int], base: float, allowed: int, breakers: set[int], window: int) -> None:
    logits = np.zeros(8, np.float32)
    found = dry(0.8, base, allowed, breakers, window)(ids, logits)
    text = ids[-window:] if window else ids
    expected = [-plain_dry(text, i, 0.8, base, allowed, breakers) for i in range(8)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_penalty_of_dry_is_limited_as_float32_is() -> None:
    found = dry(1.0, base=10.0)([1] * 500, np.zeros(3, np.float32))
    assert -3.5e38 < float(found[1]) < -1e37
    assert found[0] == found[2] == 0


@given(st.lists(st.integers(0, 2), max_size=40), st.integers(1, 5))
def test_the_ngrams_of_a_text_are_those_of_its_list(ids: list[int], size: int) -> None:
    logits = np.zeros(3, np.float32)
    assert (
        no_repeat_ngram(size)(tuple(ids), logits).tolist()
        == no_repeat_ngram(size)(ids, logits).tolist()
    )


# --- truncation and scaling


@checked
@given(rows(), st.floats(0.1, 3))
def test_top_n_sigma(logits: Row, n: float) -> None:
    left = [value for value in logits.tolist() if value > -INF]
    mean = math.fsum(left) / len(left)
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in left) / len(left))
    edge = max(left) - n * deviation
    found = top_n_sigma(n)([], logits)
    for before, after in zip(logits.tolist(), found.tolist(), strict=True):
        if abs(before - edge) > 1e-5:
            assert after == (before if before > edge else -INF)


@checked
@given(rows(), st.floats(0.01, 0.6))
def test_xtc_excludes_all_probable_ids_but_the_least(logits: Row, threshold: float) -> None:
    probabilities = softmax(logits)
    if any(abs(p - threshold) < 1e-6 for p in probabilities):
        return
    above = [i for i, p in enumerate(probabilities) if p >= threshold]
    expected = logits.copy()
    if threshold <= 0.5 and above:
        expected[sorted(above, key=lambda i: (-logits[i], i))[:-1]] = -INF
    assert xtc(1.0, threshold, 0)([], logits).tolist() == expected.tolist()
    assert xtc(0.0, threshold, 0)([], logits).tolist() == logits.tolist()


def test_xtc_applies_as_often_as_it_says() -> None:
    logits = np.array([2, 2, 0], np.float32)
    processor = xtc(0.3, 0.1, seed=5)
    applied = sum(processor([], logits)[0] == -INF for _ in range(4000))
    assert 0.27 < applied / 4000 < 0.33


def test_xtc_and_the_sampler_draw_independently_from_one_seed() -> None:
    """Otherwise the sampler would prefer some ids whenever XTC applies."""
    logits = np.array([1, 1], np.float32)
    both = [
        (xtc(0.5, 0.1, seed)([], logits)[0] == -INF, Categorical(seed)(logits))
        for seed in range(2000)
    ]
    counts = Counter(both)
    assert all(430 < count < 570 for count in counts.values())
    assert len(counts) == 4


@checked
@given(rows(), st.floats(0, 2), st.floats(0, 1.5), st.floats(0.3, 3))
def test_dynamic_temperature(logits: Row, value: float, half_range: float, exponent: float) -> None:
    left = [p for p in softmax(logits) if p > 0]
    if len(left) < 2 or value + half_range < 0.05:
        return
    entropy = -math.fsum(p * math.log(p) for p in left)
    relative = entropy / math.log(np.isfinite(logits).sum())
    low = max(0.0, value - half_range)
    used = low + (value + half_range - low) * relative**exponent
    found = dynamic_temperature(value, half_range, exponent)([], logits)
    expected = (logits.astype(np.float64) - logits.max()) / max(used, 1e-200)
    stay = np.isfinite(logits)
    np.testing.assert_allclose(found[stay], expected[stay], rtol=1e-3, atol=1e-5)
    assert np.isneginf(found[~stay]).all()


@given(rows(), st.floats(0.1, 2))
def test_a_range_of_0_is_a_plain_temperature(logits: Row, value: float) -> None:
    found = dynamic_temperature(value, 0.0)([], logits)
    if np.isfinite(logits).sum() > 1:
        assert found.tolist() == temperature(value)([], logits).tolist()


# --- Mirostat 2


@checked
@given(rows(), st.integers(0, 1000), st.floats(0.2, 6), st.floats(0.01, 0.5))
def test_mirostat_leaves_surprising_ids_out_and_follows_the_rest(
    logits: Row, seed: int, tau: float, eta: float
) -> None:
    draw, mu = Mirostat(seed, tau, eta), 2 * tau
    probabilities = softmax(logits)
    surprises = [-math.log2(p) if p else INF for p in probabilities]
    for _ in range(5):
        if any(abs(surprise - mu) < 1e-4 for surprise in surprises):
            return
        left = [i for i, surprise in enumerate(surprises) if surprise <= mu]
        left = left or [i for i in range(logits.size) if logits[i] == logits.max()]
        mass = math.fsum(probabilities[i] for i in left)
        chosen = draw(logits)
        assert chosen in left
        mu -= eta * (-math.log2(probabilities[chosen] / mass) - tau)
        assert draw.mu == pytest.approx(mu, abs=1e-4)


def test_mirostat_comes_near_the_surprise_it_aims_at() -> None:
    logits = np.random.default_rng(1).normal(0, 3, 3000).astype(np.float32)
    for tau in (2.0, 4.0):
        draw = Mirostat(0, tau)
        ids = [draw(logits) for _ in range(3000)][300:]
        total = math.log2(np.exp(logits - logits.max()).sum(dtype=np.float64))
        surprise = np.mean([total - (logits[i] - logits.max()) / math.log(2) for i in ids])
        assert tau < surprise < tau + 1  # of all ids; among what is left it is less


def test_mirostat_with_all_ids_left_draws_as_categorical_does() -> None:
    logits = np.random.default_rng(2).normal(0, 1, 50).astype(np.float32)
    ours, plain = Mirostat(3, tau=20, eta=0), Categorical(3)
    assert [ours(logits) for _ in range(50)] == [plain(logits) for _ in range(50)]
