"""Bundles scored by lm-eval's model type "onnxruntime"; without tasks, which download data sets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import gpt2xl
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.source.checkpoint import open_checkpoint

reason = "the extra 'interop' is not installed"
registry = pytest.importorskip("lm_eval.api.registry", reason=reason)
instance = pytest.importorskip("lm_eval.api.instance", reason=reason)

PAIRS = (
    ("The king said to his", " daughter"),
    ("The king said to his", " refrigerator"),
    ("Once upon a time there was a", " poor woodcutter who lived in the forest with his wife."),
)


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Any:
    return registry.get_model("onnxruntime")(pretrained=str(folder))


def log_likelihood(
    logits: npt.NDArray[np.float32], ids: list[int], start: int
) -> tuple[float, float]:
    """(log-probability of ids[start:], their smallest lead over any other), by logits [n, v]."""
    rows, targets = logits[start - 1 : -1].astype(np.float64), np.array(ids[start:])
    rows = rows - rows.max(-1, keepdims=True)
    chosen = np.take_along_axis(rows, targets[:, None], -1)[:, 0]
    total = float((chosen - np.log(np.exp(rows).sum(-1))).sum())
    others = rows.copy()
    np.put_along_axis(others, targets[:, None], -np.inf, -1)
    return total, float((chosen - others.max(-1)).min())


@pytest.mark.parametrize(("context", "continuation"), PAIRS)
def test_its_log_likelihoods_are_ours(
    scorer: Any,
    model: gpt2xl.Model,
    engine_logits: Callable[[list[int]], npt.NDArray[np.float32]],
    slack: float,
    context: str,
    continuation: str,
) -> None:
    request = instance.Instance("loglikelihood", {}, (context, continuation), 0)
    ((total, is_greedy),) = scorer.loglikelihood([request], disable_tqdm=True)
    start = len(model.tokenizer.encode(context))
    ids = model.tokenizer.encode(context + continuation)
    wanted, lead = log_likelihood(engine_logits(ids), ids, start)
    assert total == pytest.approx(wanted, abs=slack)
    if abs(lead) > slack:  # else either may come first
        assert is_greedy == (lead > 0)


@pytest.mark.parametrize("precision", ["fp32"], indirect=True)
def test_its_rolling_log_likelihood_is_that_of_the_checkpoint(
    scorer: Any, demo: Path, model: gpt2xl.Model
) -> None:
    text = "".join(PAIRS[-1])
    request = instance.Instance("loglikelihood_rolling", {}, (text,), 0)
    (total,) = scorer.loglikelihood_rolling([request], disable_tqdm=True)
    ids = [*model.config.eos_token_ids, *model.tokenizer.encode(text)]
    (logits,) = Reference(open_checkpoint(demo)).logits([ids])
    assert total == pytest.approx(log_likelihood(logits, ids, 1)[0], rel=1e-4)
