"""What a chain draws, beside the probabilities that transformers would draw with: chi-squared over 20,000 draws."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.samplers import Categorical
from gpt2xl.processors.mass import top_p, typical_p
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.scaling import temperature
from gpt2xl.processors.truncation import min_p, top_k

torch = pytest.importorskip("torch", reason="parity with transformers needs torch")
theirs = pytest.importorskip("transformers.generation.logits_process")

VOCABULARY, DRAWS, LEAST_EXPECTED = 2000, 20_000, 5

Stage = tuple[LogitsProcessor, Any]
STAGES: dict[str, Stage] = {
    "temperature": (temperature(0.8), theirs.TemperatureLogitsWarper(0.8)),
    "top_k": (top_k(40), theirs.TopKLogitsWarper(40)),
    "top_p": (top_p(0.9), theirs.TopPLogitsWarper(0.9)),
    "min_p": (min_p(0.05), theirs.MinPLogitsWarper(0.05)),
    "typical_p": (typical_p(0.9), theirs.TypicalLogitsWarper(0.9)),
}
CHAINS = [
    ["temperature"],
    ["temperature", "top_k"],
    ["temperature", "top_p"],
    ["temperature", "min_p"],
    ["temperature", "typical_p"],
    ["temperature", "top_k", "top_p", "min_p", "typical_p"],
]


def logits_of(seed: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 3, VOCABULARY).astype(np.float32)


def drawn(
    processors: list[LogitsProcessor],
    logits: npt.NDArray[np.float32],
    needed: int = 0,
    draws: int = DRAWS,
) -> Any:
    """How often a chain draws each id."""
    chain = Chain(tuple(processors), Categorical(1), needed)
    return np.bincount([chain.choose([0], logits) for _ in range(draws)], minlength=VOCABULARY)


def probabilities(processors: list[Any], logits: npt.NDArray[np.float32]) -> Any:
    """What transformers draws with."""
    scores = torch.tensor(logits[None])
    for processor in processors:
        scores = processor(torch.tensor([[0]]), scores)
    return scores[0].double().softmax(-1).numpy()


def is_drawn_from(counts: Any, expected_probabilities: Any) -> bool:
    """Whether the counts pass at a level of 1e-4; rare ids share a bin.

    The quantile of chi-squared is Wilson and Hilferty's (1931) approximation.
    """
    expected = DRAWS * expected_probabilities
    is_rare = expected < LEAST_EXPECTED
    counts = np.append(counts[~is_rare], counts[is_rare].sum())
    expected = np.append(expected[~is_rare], expected[is_rare].sum())
    counts, expected = counts[expected > 0], expected[expected > 0]
    statistic, freedom = ((counts - expected) ** 2 / expected).sum(), counts.size - 1
    share = 2 / (9 * freedom)
    return bool(statistic < freedom * (1 - share + 3.719 * share**0.5) ** 3)


@pytest.mark.parametrize("names", CHAINS, ids=" ".join)
def test_ids_are_drawn_with_transformers_probabilities(names: list[str]) -> None:
    logits = logits_of(3)
    expected = probabilities([STAGES[name][1] for name in names], logits)
    counts = drawn([STAGES[name][0] for name in names], logits)
    assert not counts[expected == 0].any()
    assert is_drawn_from(counts, expected)


def test_the_40_largest_logits_are_enough_where_top_k_comes_first() -> None:
    logits = logits_of(4)
    names = ["top_k", "top_p", "min_p", "typical_p"]
    chain = [STAGES[name][0] for name in names]
    assert np.array_equal(drawn(chain, logits, 40, 2000), drawn(chain, logits, 0, 2000))


def test_draws_at_another_temperature_are_told_apart() -> None:
    logits = logits_of(5)
    expected = probabilities([theirs.TemperatureLogitsWarper(0.85)], logits)
    assert not is_drawn_from(drawn([temperature(0.8)], logits), expected)
