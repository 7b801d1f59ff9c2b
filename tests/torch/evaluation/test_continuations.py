"""Scores of continuations and windows, against transformers run on each alone."""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2xl import Continuation, Model, load
from gpt2xl_eval.corpora.windows import Windows
from gpt2xl_export.exporting import export

torch = pytest.importorskip("torch", reason="parity with transformers needs torch")
transformers = pytest.importorskip("transformers", reason="parity with transformers needs it")

DEMO = Path(__file__).parents[3] / "models" / "demo"
Pair = tuple[Model, Any]
"""Ours and transformers' of one checkpoint."""


def theirs(original: Any, each: Continuation) -> list[float]:
    """Log-probabilities by transformers, in float64 from its logits."""
    ids = torch.tensor([[*each.context, *each.ids]])
    with torch.no_grad():
        logits = original(ids[:, :-1], use_cache=False).logits[0].double()
    values = torch.log_softmax(logits, -1)[-len(each.ids) :]
    return [float(row[token_id]) for row, token_id in zip(values, each.ids, strict=True)]


def check(pair: Pair, texts: Sequence[Continuation], rel: float = 1e-5) -> None:
    """Every token is close, and the mean closer than ``rel``."""
    model, original = pair
    found, wanted = [], []
    for number, score in enumerate(model.score_continuations(texts)):
        wanted += theirs(original, texts[number])
        found += score.logprobs.tolist()
    assert len(found) == len(wanted) > 0
    assert found == pytest.approx(wanted, abs=2e-4)
    assert math.fsum(found) == pytest.approx(math.fsum(wanted), rel=rel)


@pytest.fixture(scope="module")
def demo_pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    out = tmp_path_factory.mktemp("continuations") / "demo"
    export(DEMO, out)
    original = transformers.GPT2LMHeadModel.from_pretrained(DEMO, dtype=torch.float32).eval()
    return load(out, threads=1), original


@pytest.fixture(scope="module")
def genuine_pair(
    build: Callable[..., Any], genuine_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Pair:
    """A small random model with GPT-2's own vocabulary."""
    folder = tmp_path_factory.mktemp("continuations")
    original = build({"vocab_size": 50257, "bos_token_id": 50256, "eos_token_id": 50256})
    original.save_pretrained(folder / "model")
    for path in genuine_files.iterdir():
        shutil.copyfile(path, folder / "model" / path.name)
    export(folder / "model", folder / "bundle")
    return load(folder / "bundle", threads=1), original


@pytest.mark.parametrize(
    ("context", "stride"), [(512, 512), (512, 256), (512, 32), (300, 100), (64, 64), (33, 1)]
)
def test_windows(demo_pair: Pair, context: int, stride: int) -> None:
    ids = np.random.default_rng(context).integers(0, 4000, context + 4 * stride - 3)
    check(demo_pair, Windows(ids.tolist(), context, stride))


@pytest.mark.parametrize(("context", "stride"), [(256, 256), (256, 100), (40, 20)])
def test_windows_of_genuine_text(
    genuine_pair: Pair, shared_data: Path, context: int, stride: int
) -> None:
    text = (shared_data / "eval" / "wikitext-2" / "test.txt").read_text("utf-8")[:6000]
    ids = genuine_pair[0].tokenizer.encode(text)
    check(genuine_pair, Windows([50256, *ids], context, stride))


def test_questions(demo_pair: Pair) -> None:
    """Four endings of one context, in the way of HellaSwag; the blank of a text, in the way of CBT."""
    rng = np.random.default_rng(3)
    texts = []
    for length in (1, 20, 70, 400):
        context = rng.integers(0, 4000, length).tolist()
        texts += [Continuation(context, rng.integers(0, 4000, n).tolist()) for n in (9, 1, 30, 14)]
        texts += [Continuation([*context, at], context[:20]) for at in (5, 6)]
    check(demo_pair, texts)


def test_last_words(genuine_pair: Pair, shared_data: Path) -> None:
    """LAMBADA's own texts, cut to the context of the model."""
    lines = (
        (shared_data / "eval" / "lambada" / "lambada_test.jsonl").read_text("utf-8").splitlines()
    )
    encode, texts = genuine_pair[0].tokenizer.encode, []
    for line in lines[:40]:
        context, _, word = line[10:-2].rpartition(" ")
        texts.append(Continuation(encode(context)[-240:], encode(f" {word}")))
    check(genuine_pair, texts)
