"""Two models over the same windows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import gpt2xl
from gpt2xl import Model, RequestError
from gpt2xl_eval.comparison.running import CHUNK, check_comparable, compare
from gpt2xl_eval.comparison.token_scores import TokenScores, joined
from gpt2xl_eval.corpora.windows import Windows

MakeBundle = Callable[..., Path]
CONFIG = {"n_positions": CHUNK + 60}


@pytest.fixture(scope="module")
def models(make_bundle: MakeBundle) -> tuple[Model, Model]:
    """One checkpoint in two precisions; a window of it takes more than one chunk."""
    first, second = (make_bundle(CONFIG, precision) for precision in ("fp32", "int8-weight"))
    return gpt2xl.load(first, threads=1), gpt2xl.load(second, threads=1)


def scored(models: tuple[Model, Model], context: int, stride: int, count: int) -> TokenScores:
    ids = np.random.default_rng(0).integers(0, 256, count + 1).tolist()
    found = joined(compare(*models, Windows(ids, context, stride)))
    assert found.ids.tolist() == ids[1:]
    return found


@pytest.mark.parametrize(("context", "stride"), [(316, 315), (316, 40), (300, 20), (257, 256), (9, 3), (2, 1)])  # fmt: skip
def test_each_token_is_scored_once_as_by_score_continuations(
    models: tuple[Model, Model], context: int, stride: int
) -> None:
    count = 2 * stride + context - 1
    found = scored(models, context, stride, count)
    ids = np.random.default_rng(0).integers(0, 256, count + 1).tolist()
    for number, model in enumerate(models):
        scores = list(model.score_continuations(Windows(ids, context, stride)))
        wanted = np.concatenate([score.logprobs for score in scores])
        assert found.logprobs[number] == pytest.approx(wanted, abs=1e-3)
        # A near tie may fall either way where the steps are different ones.
        tops = np.concatenate([score.top_ids[:, 0] for score in scores])
        assert (found.top_ids[number] == tops).mean() > 0.98


def test_tokens_before_a_token_are_counted_in_its_window(models: tuple[Model, Model]) -> None:
    found = scored(models, 8, 3, 12)
    assert found.preceding.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 6, 7, 8, 8]


def test_other_vocabularies_are_refused(bundle: Path, make_bundle: MakeBundle) -> None:
    larger = gpt2xl.load(make_bundle({"vocab_size": 300}), threads=1)
    with pytest.raises(RequestError, match="one has 289 tokens and the other 300"):
        check_comparable(gpt2xl.load(bundle, threads=1), larger)


def test_other_tokenizers_are_refused(bundle: Path) -> None:
    model = gpt2xl.load(bundle, threads=1)
    text = model.bundle.tokenizer.read_text("utf-8") if model.bundle else ""
    other = gpt2xl.Tokenizer(text.replace("endoftext", "end"))
    with pytest.raises(RequestError, match=r"tokenizer\.json differ"):
        check_comparable(model, Model(model.config, other, model.session))
