"""What two models say of each token."""

import numpy as np
import pytest

from gpt2xl_eval.comparison.token_scores import BLOCK, compared, joined

VOCABULARY = 23


def random_logits(rng: np.random.Generator, tokens: int) -> list[np.ndarray]:
    return [(4 * rng.normal(size=(tokens, VOCABULARY)) + 60).astype(np.float32) for _ in range(2)]


@pytest.mark.parametrize("tokens", [1, BLOCK, 2 * BLOCK + 3])
def test_the_figures_are_those_of_the_definition(tokens: int) -> None:
    rng = np.random.default_rng(tokens)
    first, second = random_logits(rng, tokens)
    ids, preceding = rng.integers(0, VOCABULARY, tokens), np.arange(tokens) + 5
    found = compared(first, second, ids, preceding)
    assert len(found) == tokens
    assert found.preceding.tolist() == preceding.tolist()
    for place in range(tokens):
        p, q = (np.exp(row[place].astype(np.longdouble)) for row in (first, second))
        p, q = p / p.sum(), q / q.sum()
        token_id = ids[place]
        assert found.logprobs[:, place] == pytest.approx(
            [float(np.log(p[token_id])), float(np.log(q[token_id]))]
        )
        assert found.kl[place] == pytest.approx(float((p * np.log(p / q)).sum()))
        assert found.top_ids[:, place].tolist() == [p.argmax(), q.argmax()]
        assert np.exp(found.top_logprobs[:, place]) == pytest.approx([p.max(), q.max()])
        assert found.is_same_top[place] == (p.argmax() == q.argmax())


def test_a_model_does_not_differ_from_itself() -> None:
    logits = random_logits(np.random.default_rng(0), 9)[0]
    found = compared(logits, logits, np.zeros(9, np.int64), np.arange(9))
    assert found.kl.max() == 0
    assert found.is_same_top.all()
    assert (found.logprobs[0] == found.logprobs[1]).all()


def test_a_part_of_the_scores_keeps_both_models() -> None:
    logits = random_logits(np.random.default_rng(1), 9)
    ids = np.arange(9)
    whole = compared(logits[0], logits[1], ids, ids)
    again = joined([whole[:4], whole[ids >= 4]])
    assert again.logprobs.tolist() == whole.logprobs.tolist()
    assert again.kl.tolist() == whole.kl.tolist()
    assert again.top_ids.tolist() == whole.top_ids.tolist()
