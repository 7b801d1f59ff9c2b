"""Our logits processors beside those of transformers, 4 and 5, on random logits.

Transformers adds probabilities up in float32, and its sorts keep ties in any order. So two results may differ at ids
that lie within 1e-5 of a threshold, and in which ids of a tie stay; nowhere else.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2xl.processors.biases import (
    allowed_token_ids,
    bad_words_ids,
    begin_suppress_tokens,
    sequence_bias,
    suppress_tokens,
)
from gpt2xl.processors.endings import (
    exponential_decay_length_penalty,
    forced_eos_token_id,
    min_length,
    min_new_tokens,
)
from gpt2xl.processors.mass import top_h, top_p, typical_p
from gpt2xl.processors.penalties import no_repeat_ngram, repetition_penalty
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.scaling import renormalize, temperature
from gpt2xl.processors.truncation import epsilon_cutoff, eta_cutoff, min_p, top_k

torch = pytest.importorskip("torch", reason="parity with transformers needs torch")
theirs = pytest.importorskip("transformers.generation.logits_process")

IS_5 = hasattr(theirs, "TopHLogitsWarper")
NEAR = 1e-5
Values = npt.NDArray[np.float64]
checked = settings(deadline=None, max_examples=100)
shares = st.floats(0.01, 0.99)
kept_counts = st.integers(1, 4)


@dataclass
class Case:
    """A text and the logits after it."""

    ids: list[int]
    logits: npt.NDArray[np.float32]

    def check(
        self, ours: LogitsProcessor, other: Any, near: npt.NDArray[np.bool_] | None = None
    ) -> None:
        """Same logits, and -inf at the same ids but for ``near``, where the number may differ, and for ties."""
        before = self.logits.copy()
        found, wanted = ours(self.ids, self.logits).astype(np.float64), self.transformers(other)
        assert np.array_equal(self.logits, before)
        stay = np.isfinite(found) & np.isfinite(wanted)
        np.testing.assert_allclose(found[stay], wanted[stay], rtol=1e-5, atol=1e-5)
        differs = np.isneginf(found) != np.isneginf(wanted)
        if not differs.any():
            return
        assert near is not None, f"ids {differs.nonzero()[0]} are excluded in only one of them"
        tied = np.isin(self.logits, [self.logits[np.isfinite(found)].min()])
        assert not (differs & ~near & ~tied).any()
        if not near.any():
            assert np.isfinite(found).sum() == np.isfinite(wanted).sum()

    def transformers(self, other: Any) -> Values:
        ids, logits = torch.tensor([self.ids], dtype=torch.long), torch.tensor(self.logits[None])
        return np.asarray(other(ids, logits)[0].numpy().astype(np.float64))

    @property
    def log_probabilities(self) -> Values:
        shifted = self.logits.astype(np.float64) - self.logits.max()
        return np.asarray(shifted - np.log(np.exp(shifted).sum()))

    @property
    def entropy(self) -> float:
        logs = self.log_probabilities[np.isfinite(self.logits)]
        return float(-(np.exp(logs) * logs).sum())


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Vocabularies of 50 to 5,000 ids, flat and peaked, with ties, with ids at -inf; texts that repeat themselves."""
    size = draw(st.integers(50, 5000))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    logits = rng.normal(0, draw(st.sampled_from([0.3, 1, 3, 8])), size)
    logits = logits.round(draw(st.sampled_from([0, 1, 9])))
    logits[rng.random(size) < draw(st.sampled_from([0, 0, 0.1, 0.95]))] = -np.inf
    logits[rng.integers(size)] = 1.5
    ids = rng.integers(0, draw(st.sampled_from([3, 8, size])), draw(st.integers(0, 60)))
    return Case(ids.tolist(), logits.astype(np.float32))


def near_sum(sums: Values, threshold: float) -> npt.NDArray[np.bool_]:
    return np.asarray(np.abs(sums - threshold) < NEAR)


# --- what the text holds


@checked
@given(cases(), st.floats(0.5, 2))
def test_repetition_penalty(case: Case, penalty: float) -> None:
    case.check(repetition_penalty(penalty), theirs.RepetitionPenaltyLogitsProcessor(penalty))


@checked
@given(cases(), st.integers(1, 5))
def test_no_repeat_ngram(case: Case, size: int) -> None:
    case.check(no_repeat_ngram(size), theirs.NoRepeatNGramLogitsProcessor(size))


# --- biases and bans


@checked
@given(
    cases(),
    st.dictionaries(
        st.lists(st.integers(0, 7), min_size=1, max_size=4).map(tuple),
        st.floats(-5, 5) | st.just(-np.inf),
        min_size=1,
        max_size=30,
    ),
)
def test_sequence_bias(case: Case, biases: dict[tuple[int, ...], float]) -> None:
    if (
        not IS_5
    ):  # transformers 4 applies a sequence that begins with the first id of the text a token later
        biases = {ids: bias for ids, bias in biases.items() if len(ids) != len(case.ids) + 1}
    if biases:
        case.check(sequence_bias(biases), theirs.SequenceBiasLogitsProcessor(biases))


@checked
@given(
    cases(),
    st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=3), min_size=1, max_size=20),
    st.lists(st.integers(0, 7), min_size=1, max_size=2, unique=True),
)
def test_bad_words_ids(case: Case, words: list[list[int]], eos: list[int]) -> None:
    if not IS_5:
        words = [word for word in words if len(word) != len(case.ids) + 1]
    words.append([0, 1, 2, 3, 4, 5])
    case.ids += [7] * 6 * (not IS_5)
    case.check(bad_words_ids(words, eos), theirs.NoBadWordsLogitsProcessor(words, eos))


@checked
@given(cases(), st.lists(st.integers(0, 49), min_size=1, max_size=9), st.integers(0, 60))
def test_suppressed_and_allowed_ids(case: Case, token_ids: list[int], start: int) -> None:
    case.check(suppress_tokens(token_ids), theirs.SuppressTokensLogitsProcessor(token_ids))
    for begin in (start, len(case.ids)):
        other = theirs.SuppressTokensAtBeginLogitsProcessor(token_ids, begin)
        case.check(begin_suppress_tokens(token_ids, begin), other)
    case.logits[token_ids[0]] = 1  # transformers 5 makes all of them 0 where none is left
    allowed = theirs.PrefixConstrainedLogitsProcessor(lambda batch, ids: token_ids, 1)
    case.check(allowed_token_ids(token_ids), allowed)


# --- the end of a text

eos_ids = st.lists(st.integers(0, 49), min_size=1, max_size=3, unique=True)


@checked
@given(cases(), eos_ids, st.integers(0, 60), st.integers(0, 60))
def test_minimum_lengths(case: Case, eos: list[int], least: int, prompt: int) -> None:
    case.check(min_length(least, eos), theirs.MinLengthLogitsProcessor(least, eos))
    other = theirs.MinNewTokensLengthLogitsProcessor(prompt, least, eos)
    case.check(min_new_tokens(least, eos, prompt), other)


@checked
@given(cases(), eos_ids, st.sampled_from([0, 1, 2]))
def test_forced_eos(case: Case, eos: list[int], room: int) -> None:
    limit = len(case.ids) + room
    case.check(forced_eos_token_id(eos, limit), theirs.ForcedEOSTokenLogitsProcessor(limit, eos))


@checked
@given(cases(), eos_ids, st.integers(0, 40), st.integers(0, 40), st.floats(0.9, 1.2))
def test_exponential_decay(
    case: Case, eos: list[int], start: int, prompt: int, factor: float
) -> None:
    case.logits[eos] = np.nan_to_num(case.logits[eos], neginf=-2)  # transformers makes them nan
    ours = exponential_decay_length_penalty(start, factor, eos, prompt)
    case.check(ours, theirs.ExponentialDecayLengthPenalty((start, factor), eos, prompt))


# --- scaling


@checked
@given(cases(), st.floats(0.1, 3))
def test_temperature(case: Case, value: float) -> None:
    largest = float(case.logits.max()) / value  # ours shifts them
    other = theirs.TemperatureLogitsWarper(value)
    case.check(temperature(value), lambda ids, logits: other(ids, logits.double()) - largest)


@checked
@given(cases())
def test_renormalize(case: Case) -> None:
    case.check(renormalize(), theirs.LogitNormalization())


# --- truncation


@checked
@given(cases(), st.integers(1, 300))
def test_top_k(case: Case, count: int) -> None:
    other = theirs.TopKLogitsWarper(count)
    case.check(top_k(count, keeps_ties=True), other)
    finite = np.isfinite(top_k(count)([], case.logits)).sum()
    assert finite == min(count, np.isfinite(case.logits).sum())


@checked
@given(cases(), shares | st.just(0.0), kept_counts)
def test_top_p(case: Case, p: float, kept: int) -> None:
    probabilities = np.exp(case.log_probabilities)
    order = case.logits.argsort(kind="stable")
    near = np.empty(order.size, np.bool_)
    near[order] = near_sum(probabilities[order].cumsum(), 1 - p)
    near = np.isin(case.logits, case.logits[near])  # with ties
    case.check(top_p(p, kept), theirs.TopPLogitsWarper(p, min_tokens_to_keep=kept), near)


@checked
@given(cases(), shares | st.floats(1e-6, 0.01) | st.sampled_from([0.0, 1.0]), kept_counts)
def test_min_p(case: Case, p: float, kept: int) -> None:
    below = case.logits.astype(np.float64) - case.logits.max()
    near = np.abs(below - np.log(p or 1e-300)) < NEAR
    near |= below < -80  # 0 in float32
    case.check(min_p(p, kept), theirs.MinPLogitsWarper(p, min_tokens_to_keep=kept), near)


@checked
@given(cases(), shares, kept_counts)
def test_typical_p(case: Case, p: float, kept: int) -> None:
    logs = case.log_probabilities
    distances = np.minimum(np.abs(-logs - case.entropy), 1e6)
    order = distances.argsort(kind="stable")
    sums = np.exp(logs[order]).cumsum()
    first, last = (min(int((sums < p + d).sum()), sums.size - 1) for d in (-NEAR, NEAR))
    near = (distances > distances[order[first]] - NEAR) & (
        distances < distances[order[last]] + NEAR
    )
    # Of the ids that stay in any case, the last may be one of a tie.
    near |= np.abs(distances - distances[order[kept - 1]]) < NEAR
    case.check(typical_p(p, kept), theirs.TypicalLogitsWarper(p, min_tokens_to_keep=kept), near)
    count = np.isfinite(typical_p(p, kept)([], case.logits)).sum()
    assert count >= min(kept, np.isfinite(case.logits).sum())


@checked
@given(cases(), st.floats(1e-4, 0.2), kept_counts)
def test_epsilon_and_eta_cutoff(case: Case, epsilon: float, kept: int) -> None:
    logs = case.log_probabilities
    eta = min(epsilon, np.sqrt(epsilon) * np.exp(-case.entropy))
    pairs: list[tuple[Callable[..., LogitsProcessor], Any, float]] = [
        (epsilon_cutoff, theirs.EpsilonLogitsWarper, epsilon),
        (eta_cutoff, theirs.EtaLogitsWarper, eta),
    ]
    for ours, other, threshold in pairs:
        near = np.abs(logs - np.log(threshold)) < NEAR
        case.check(ours(epsilon, kept), other(epsilon, min_tokens_to_keep=kept), near)


@pytest.mark.skipif(not IS_5, reason="top_h is in transformers 5 only")
@checked
@given(cases(), shares | st.just(1.0))
def test_top_h(case: Case, share: float) -> None:
    order = (-case.logits).argsort(kind="stable")
    best = order[:100][np.isfinite(case.logits[order[:100]])]
    logs = case.log_probabilities[best]
    logs -= np.log(np.exp(logs).sum())
    sums = (-np.exp(logs) * logs).cumsum()
    near = np.zeros(order.size, np.bool_)
    near[best] = near_sum(sums, share * sums[-1])
    near = np.isin(case.logits, case.logits[near])
    case.check(top_h(share), theirs.TopHLogitsWarper(share), near)
