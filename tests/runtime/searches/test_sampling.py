"""Beam sampling: candidates are drawn without replacement, each with its probability."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.runtime.fakes import FakeSession, told_by_all_ids

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.processors.truncation import top_k
from gpt2xl.searches.beam import beam_search
from gpt2xl.searches.candidates import best, log_probabilities, sampling, temperature
from gpt2xl.searches.settings import BeamSettings, Hypothesis
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.options import LoadOptions

PROMPT, VOCAB = [3, 1, 4], 30


def search(seed: int | None, **options: Any) -> list[Hypothesis]:
    session = FakeSession(told_by_all_ids(VOCAB), vocab_size=VOCAB)
    settings = BeamSettings(3, num_return_sequences=3, seed=seed)
    return beam_search(session, PROMPT, settings, max_new_tokens=6, **options)


def test_draws_have_the_probabilities_of_successive_draws() -> None:
    """Of 4 tokens in 2 rows, two at a time: chi-squared over 20,000 draws."""
    probabilities = np.array([[0.4, 0.05], [0.25, 0.3]], np.float32)
    draw, scores = sampling(7), np.log(probabilities)
    found = Counter[tuple[int, ...]]()
    for _ in range(20_000):
        drawn = draw(scores, 2)
        found[tuple(sorted((2 * drawn.rows + drawn.tokens).tolist()))] += 1
        assert drawn.scores[0] >= drawn.scores[1]
    chi_squared, flat = 0.0, probabilities.ravel().astype(float)
    for i, j in itertools.combinations(range(4), 2):
        expected = 20_000 * flat[i] * flat[j] * (1 / (1 - flat[i]) + 1 / (1 - flat[j]))
        chi_squared += (found[i, j] - expected) ** 2 / expected
    assert sum(found.values()) == 20_000
    assert chi_squared < 20.5  # 5 degrees of freedom: p = 0.001


def test_never_a_token_outside_the_surviving_set() -> None:
    session = FakeSession(told_by_all_ids(VOCAB), vocab_size=VOCAB)
    for seed in range(10):
        for text in search(seed, warpers=[temperature(2.0), top_k(3)]):
            for at, token in enumerate(text.ids):
                logits = np.asarray(session.logits_of([*PROMPT, *text.ids[:at]]))
                assert token in logits.argsort()[-3:]


def test_scores_are_those_of_the_warped_probabilities() -> None:
    session = FakeSession(told_by_all_ids(VOCAB), vocab_size=VOCAB)
    for text in search(5, warpers=[temperature(2.0), top_k(3)]):
        starts = [[*PROMPT, *text.ids[:at]] for at in range(len(text.ids))]
        warped = [
            log_probabilities(np.asarray(session.logits_of(s), np.float32)) / 2 for s in starts
        ]
        total = sum(row[token] for row, token in zip(warped, text.ids, strict=True))
        assert text.score == pytest.approx(total / 6, abs=1e-5)


def test_a_seed_gives_the_same_texts_and_another_seed_others() -> None:
    assert search(1) == search(1)
    assert search(1) != search(2)
    texts = search(1)
    assert len({tuple(text.ids) for text in texts}) == 3
    assert [text.score for text in texts] == sorted((t.score for t in texts), reverse=True)


def test_warpers_do_nothing_without_a_seed() -> None:
    assert search(None, warpers=[temperature(0.3)]) == search(None)


def test_where_all_candidates_are_drawn_the_result_is_that_of_no_sampling() -> None:
    """A draw of as many as there are is no draw: two beams, four candidates, two tokens left to each."""
    session = FakeSession(told_by_all_ids(VOCAB), vocab_size=VOCAB)
    found = [
        beam_search(
            session,
            PROMPT,
            BeamSettings(2, num_return_sequences=2, seed=seed),
            max_new_tokens=8,
            processors=[top_k(2)],
        )
        for seed in (None, 1)
    ]
    assert found[0] == found[1]


def test_the_best_candidates_come_first_and_of_a_tie_the_lowest() -> None:
    scores = np.random.default_rng(0).integers(0, 9, (3, 50)).astype(np.float32)
    scores[:, ::3] = -np.inf
    for count in (1, 7, 60, 150, 200):
        found = best(scores, count)
        order = np.argsort(-scores.ravel(), kind="stable")[: min(count, 99)]
        assert np.array_equal(found.rows * 50 + found.tokens, order)
        assert np.array_equal(found.scores, scores.ravel()[order])


def test_a_real_graph_samples(bundle: Path) -> None:
    session = open_session(open_bundle(bundle), LoadOptions(provider="cpu", threads=1))
    settings = BeamSettings(4, num_return_sequences=4, seed=3)
    texts = beam_search(session, [1, 2, 3], settings, max_new_tokens=8, eos_token_ids=[286])
    assert len({tuple(text.ids) for text in texts}) == 4
    assert all(len(text.ids) <= 8 and 286 not in text.ids for text in texts)
