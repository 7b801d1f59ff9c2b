"""Perplexity as gpt2xl_eval computes it equals a plain computation with transformers."""

import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import Model, load
from gpt2xl_eval.detokenizers.by_name import DETOKENIZERS
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.running import evaluate
from gpt2xl_eval.tasks import make_task
from gpt2xl_export import export

torch = pytest.importorskip("torch", reason="the computation to compare with needs torch")
transformers = pytest.importorskip("transformers", reason="the model to compare with needs it")

DEMO = Path(__file__).parents[3] / "models" / "demo"
TEXT = Path(__file__).parents[3] / "README.md"
Pair = tuple[Model, Any]


def nats_of(model: Any, ids: list[int], context: int, stride: int) -> float:
    """The recipe in a few lines: the model reads ``context`` ids, and the last ``stride`` of what follows them are new."""
    total, scored = 0.0, 1
    while scored < len(ids):
        end = min(context + 1 if scored == 1 else scored + stride, len(ids))
        begin = max(0, end - context - 1)
        with torch.no_grad():
            logits = model(torch.tensor([ids[begin : end - 1]])).logits[0].double()
        logprobs = torch.log_softmax(logits, dim=-1)
        for position in range(scored, end):
            total -= float(logprobs[position - 1 - begin, ids[position]])
        scored = end
    return total


def loaded(checkpoint: Path, bundle: Path) -> Pair:
    export(checkpoint, bundle)
    reference = transformers.GPT2LMHeadModel.from_pretrained(
        checkpoint, dtype=torch.float32, attn_implementation="eager"
    )
    return load(bundle, threads=1), reference.eval()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return loaded(DEMO, tmp_path_factory.mktemp("demo") / "bundle")


@pytest.fixture(scope="module")
def genuine(
    build: Callable[..., Any], genuine_files: Path, tmp_path_factory: pytest.TempPathFactory
) -> Pair:
    """A random model with GPT-2's own vocabulary, and 128 positions."""
    folder = tmp_path_factory.mktemp("genuine") / "checkpoint"
    config = {"vocab_size": 50257, "bos_token_id": 50256, "eos_token_id": 50256}
    build(config | {"n_positions": 128}).save_pretrained(folder)
    for path in genuine_files.iterdir():
        shutil.copy(path, folder)
    return loaded(folder, folder.parent / "bundle")


@pytest.mark.parametrize(
    ("context", "stride"), [(None, None), (None, 200), (64, 64), (64, 32), (50, 7)]
)
def test_the_demo_s_perplexity_of_a_text(
    demo: Pair, tmp_path: Path, context: int | None, stride: int | None
) -> None:
    model, reference = demo
    size = model.config.n_positions
    text = TEXT.read_text("utf-8")[: 3 * size if context is None else 600]
    (tmp_path / "text").write_text(text, "utf-8")
    options = EvalOptions(context=context, stride=stride)
    task = make_task("perplexity", tmp_path / "text", model.tokenizer, size, options)
    figures = evaluate(model, task).figures
    ids = model.tokenizer.encode("<|endoftext|>" + text)
    context = context or size
    assert len(ids) > context + 1
    nats = nats_of(reference, ids, context, stride or context // 2)
    expected = math.exp(nats / (len(ids) - 1))
    assert figures["perplexity per token"] == pytest.approx(expected, rel=1e-4)
    bits = nats / math.log(2)
    assert figures["bits per byte"] == pytest.approx(bits / len(text.encode()), rel=1e-4)
    assert figures["perplexity per word"] == pytest.approx(
        math.exp(nats / len(text.split())), rel=1e-4
    )


def a_part(shared_data: Path, folder: Path) -> Path:
    """Two articles of WikiText-2's test set, cut short."""
    text = (shared_data / "eval" / "wikitext-2" / "test.txt").read_text("utf-8")
    second = re.search(r"\n(?= = [^=\n]+ = \n)", text[3:])
    assert second
    start = second.end() + 3
    path = folder / "wiki.test.tokens"
    path.write_text(text[:2000] + "\n" + text[start : start + 1500] + "\n", "utf-8")
    return path


@pytest.mark.parametrize(("context", "stride"), [(128, 64), (128, 128), (128, 32), (40, 13)])
@pytest.mark.parametrize("detokenizer", ["wikitext", "none"])
def test_perplexity_of_original_tokens_of_wikitext_2(
    genuine: Pair,
    genuine_files: Path,
    shared_data: Path,
    tmp_path: Path,
    context: int,
    stride: int,
    detokenizer: str,
) -> None:
    model, reference = genuine
    hub_tokenizer = transformers.GPT2TokenizerFast(
        str(genuine_files / "vocab.json"), str(genuine_files / "merges.txt")
    )
    data = a_part(shared_data, tmp_path)
    options = EvalOptions(context=context, stride=stride, detokenizer=detokenizer)
    task = make_task("wikitext2", data, model.tokenizer, 128, options)
    figures = evaluate(model, task).figures
    lines = data.read_text("utf-8")
    text = DETOKENIZERS[detokenizer].detokenize(lines)
    assert (" ," in text) == (detokenizer == "none")
    ids = [50256, *hub_tokenizer(text)["input_ids"]]
    nats = nats_of(reference, ids, context, stride)
    expected = math.exp(nats / (len(lines.split()) + lines.count("\n")))
    assert figures["perplexity per word"] == pytest.approx(expected, rel=1e-4)
