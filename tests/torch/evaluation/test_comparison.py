"""`gpt2xl compare` beside an independent computation with transformers in float32."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from typer.testing import CliRunner

from gpt2xl_cli.app import app
from gpt2xl_export.exporting import export

torch = pytest.importorskip("torch", reason="the extra 'parity' is not installed")
pytest.importorskip("transformers", reason="the extra 'parity' is not installed")

START = 286
TEXT = "Once upon a time there was a king who had a fair daughter. <|endoftext|> Größe, 12 %.\n" * 9


@pytest.fixture(scope="module")
def models(build: Callable[..., Any]) -> list[Any]:
    """A random model and a copy whose weights are a little off, as by rounding."""
    first = build({"n_positions": 320})
    second = build({"n_positions": 320})
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in second.parameters():
            parameter += 0.15 * parameter.std().nan_to_num(0.1) * torch.randn_like(parameter)
    return [first, second]


@pytest.fixture(scope="module")
def bundles(
    models: list[Any], save: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> list[Path]:
    found = []
    for number, model in enumerate(models):
        folder = tmp_path_factory.mktemp("compare")
        export(save(model, folder / "checkpoint"), folder / f"bundle-{number}")
        found.append(folder / f"bundle-{number}")
    return found


def wanted(models: list[Any], ids: list[int], context: int, stride: int) -> dict[str, Any]:
    """The figures, from log-probabilities of whole windows."""
    rows: list[list[Any]] = [[], []]
    scored: list[int] = []
    end = 1  # tokens that are scored so far, with the start
    while end < len(ids):
        stop = min(context + 1 if end == 1 else end + stride, len(ids))
        window = ids[max(0, stop - context - 1) : stop - 1]
        new = stop - end
        for found, model in zip(rows, models, strict=True):
            with torch.no_grad():
                logits = model(torch.tensor([window]), use_cache=False).logits[0].double()
            found.append(torch.log_softmax(logits, -1)[-new:])
        scored += ids[end:stop]
        end = stop
    p, q = (torch.cat(found) for found in rows)
    places = torch.arange(len(scored))
    first, second = p[places, scored], q[places, scored]
    kl = (p.exp() * (p - q)).sum(-1)
    ratio = float((first.mean() - second.mean()).exp())
    return {
        "tokens": len(scored),
        "perplexities": [float((-first.mean()).exp()), float((-second.mean()).exp())],
        "ratio": ratio,
        "ratio_error": ratio * float((first - second).std()) / len(scored) ** 0.5,
        "mean_kl": float(kl.mean()),
        "kl_99": float(np.quantile(kl.numpy(), 0.99)),
        "top1_agreement": float((p.argmax(-1) == q.argmax(-1)).double().mean()),
        "worst": int(kl.argmax()),
    }


@pytest.mark.parametrize(("context", "stride"), [(None, None), (64, 32), (100, 7)])
def test_figures_are_those_of_transformers(
    models: list[Any], bundles: list[Path], tmp_path: Path, context: int | None, stride: int | None
) -> None:
    (tmp_path / "text.txt").write_text(TEXT, "utf-8", newline="\n")
    words = ["compare", *map(str, bundles), "--data", str(tmp_path / "text.txt"), "--json"]
    words += ["--context", str(context), "--stride", str(stride)] if context and stride else []
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    found = json.loads(done.stdout)
    tokenizer = tokenizers.Tokenizer.from_file(str(bundles[0] / "tokenizer.json"))
    ids = [START, *tokenizer.encode(TEXT).ids]
    expected = wanted(models, ids, context or 320, stride or 320)
    assert len(ids) > 330  # more than one window
    assert 0.01 < expected["mean_kl"] < 1
    assert 0.3 < expected["top1_agreement"] < 1
    assert found["most_different"][0]["place"] == expected.pop("worst")
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-4), name
    for name in ("by_position", "by_frequency"):
        parts = found[name]
        total = sum(part["tokens"] * part["mean_kl"] for part in parts)
        assert total / found["tokens"] == pytest.approx(expected["mean_kl"], rel=1e-4)
