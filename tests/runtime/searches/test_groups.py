"""Diverse beam search on small cases; tests/transformers455 compares it with transformers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from tests.runtime.fakes import FakeSession, told_by_all_ids

from gpt2xl.searches.beam import beam_search
from gpt2xl.searches.settings import BeamSettings, Hypothesis

VOCAB, END = 12, 11


def search(num_beams: int, groups: int, penalty: float, **options: Any) -> list[Hypothesis]:
    session = FakeSession(told_by_all_ids(VOCAB), vocab_size=VOCAB)
    settings = BeamSettings(
        num_beams,
        num_return_sequences=num_beams,
        num_beam_groups=groups,
        diversity_penalty=penalty,
    )
    asked: dict[str, Any] = {"max_new_tokens": 5} | options
    return beam_search(session, [1, 2], settings, **asked)


def test_groups_choose_different_tokens_under_a_large_penalty() -> None:
    texts = [text.ids for text in search(4, 4, 1000.0)]
    for at in range(5):
        assert len({ids[at] for ids in texts}) == 4


def test_the_first_group_is_not_penalized() -> None:
    """One beam a group is greedy decoding; the second group's first token is the second best."""
    first, second = search(2, 2, 1000.0, max_new_tokens=1)
    logits = told_by_all_ids(VOCAB)([1, 2])
    assert [*first.ids, *second.ids] == np.argsort(logits)[::-1][:2].tolist()


def test_the_penalty_is_taken_from_the_score_for_each_earlier_choice() -> None:
    """A is chosen by all three groups; the second pays once for it, the third twice."""
    probabilities = np.array([0.9, 0.05, 0.05])
    session = FakeSession(lambda ids: np.log(probabilities), vocab_size=3)
    settings = BeamSettings(3, num_return_sequences=3, num_beam_groups=3, diversity_penalty=0.25)
    texts = beam_search(session, [0], settings, max_new_tokens=1)
    assert [text.ids for text in texts] == [[0], [0], [0]]
    wanted = [math.log(0.9) - 0.25 * times for times in range(3)]
    assert [text.score for text in texts] == pytest.approx(wanted, abs=1e-6)


def test_rows_of_a_group_that_is_done_are_not_fed() -> None:
    def logits_of(ids: Sequence[int]) -> Sequence[float]:
        """A text of 0s ends at once; one that begins with 1 goes on with it."""
        return [0, 5, -9, -9] if ids[-1] == 1 else [0, -1, -9, 9] if ids[-1] == 0 else [5, 4, 0, -9]

    session = FakeSession(logits_of, vocab_size=4)
    settings = BeamSettings(
        2, early_stopping=True, num_return_sequences=2, num_beam_groups=2, diversity_penalty=3.0
    )
    texts = beam_search(session, [2], settings, max_new_tokens=4, eos_token_ids=[3])
    assert sorted((text.ids, text.finish_reason) for text in texts) == [
        ([0], "stop"),
        ([1, 1, 1, 1], "length"),
    ]
    assert [len(rows) for rows in session.fed] == [1, 2, 1, 1]


def test_texts_are_in_order_and_as_many_as_asked_for() -> None:
    texts = search(6, 3, 1.0, eos_token_ids=[END], max_new_tokens=7)
    assert len(texts) == 6
    assert [text.score for text in texts] == sorted((t.score for t in texts), reverse=True)
    assert all(END not in text.ids for text in texts)
