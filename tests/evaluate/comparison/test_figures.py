"""Figures of a comparison, and its bins."""

import numpy as np
import pytest

from gpt2xl_eval.comparison.figures import Figures, by_frequency, by_position, most_different
from gpt2xl_eval.comparison.token_scores import TokenScores


def scores(tokens: int, seed: int = 0) -> TokenScores:
    rng = np.random.default_rng(seed)
    logprobs = -rng.exponential(3, (2, tokens))
    ids = np.minimum(rng.geometric(0.01, tokens), 400)
    tops = rng.integers(0, 2, (2, tokens))
    kl = rng.exponential(0.1, tokens)
    return TokenScores(ids, rng.integers(0, 3000, tokens), logprobs, kl, tops, logprobs)


def test_the_standard_error_is_the_spread_over_texts() -> None:
    ratios, errors = [], []
    for seed in range(400):
        figures = Figures(scores(300, seed))
        ratios.append(figures.ratio)
        errors.append(figures.ratio_error)
    assert np.median(np.array(errors, float)) == pytest.approx(np.std(ratios), rel=0.15)


def test_a_single_token_has_no_standard_error() -> None:
    assert Figures(scores(1)).ratio_error is None


def test_perplexities_and_their_ratio() -> None:
    found = scores(5)
    figures = Figures(found)
    wanted = [np.exp(-row.sum() / 5) for row in found.logprobs]
    assert figures.perplexities == pytest.approx(wanted)
    assert figures.ratio == pytest.approx(wanted[1] / wanted[0])
    assert figures.mean_kl == pytest.approx(found.kl.sum() / 5)
    assert figures.top1_agreement == sum(a == b for a, b in found.top_ids.T) / 5


def test_every_token_is_in_one_bin() -> None:
    found = scores(20000)
    for bins in (by_position(found), by_frequency(found)):
        assert sum(each.figures.tokens for each in bins) == 20000
        assert len(bins) > 3
    for each in by_position(found):
        inside = each.figures.scores.preceding
        assert each.first <= inside.min()
        assert each.last is None or inside.max() <= each.last
    counts = np.bincount(found.ids)
    for each in by_frequency(found):
        times = counts[each.figures.scores.ids]
        assert each.first <= times.min()
        assert each.last is None or times.max() <= each.last


def test_the_most_different_tokens_have_the_largest_kl() -> None:
    found = scores(50)
    places = most_different(found, 7)
    assert found.kl[places].tolist() == sorted(found.kl, reverse=True)[:7]
    assert len(most_different(found, 99)) == 50
