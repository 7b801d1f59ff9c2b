"""Log-probabilities against the textbook formula."""

import numpy as np
import pytest

from gpt2xl.decoding.logprobs import log_softmax, logprobs_of


def test_log_softmax_is_the_logarithm_of_softmax_over_the_last_axis() -> None:
    logits = np.random.default_rng(0).normal(0, 5, (3, 4, 50)).astype(np.float32)
    exp = np.exp(logits.astype(np.float64))
    assert np.allclose(log_softmax(logits), np.log(exp / exp.sum(-1, keepdims=True)))


def test_extreme_logits_give_no_warning() -> None:
    found = log_softmax(np.array([3e38, -3e38, -np.inf], np.float32))
    assert found[0] == 0
    assert found[1] < -5e38
    assert found[2] == -np.inf


def test_a_token_and_the_most_probable_ids() -> None:
    logits = np.log(np.array([0.1, 0.6, 0.3], np.float32))
    found = logprobs_of(logits, 0, 2)
    assert found.token == pytest.approx(np.log(0.1))
    assert [token_id for token_id, _ in found.top] == [1, 2]
    assert [value for _, value in found.top] == pytest.approx(np.log([0.6, 0.3]))


def test_0_alternatives_leave_the_tokens_own() -> None:
    assert logprobs_of(np.zeros(4, np.float32), 2, 0).top == []
    assert logprobs_of(np.zeros(4, np.float32), 2, 0).token == pytest.approx(np.log(0.25))
