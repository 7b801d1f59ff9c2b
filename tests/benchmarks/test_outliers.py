"""benchmarks/outliers.py: which outliers leave the model as it is."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.source.checkpoint import open_checkpoint

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
IDS = [list(range(40))]


@pytest.fixture
def outliers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the script."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return runpy.run_path(str(BENCHMARKS / "outliers.py"))


def change_of_logits(checkpoint: Path, other: Path) -> float:
    """The largest one, relative to the largest logit."""
    before, after = (Reference(open_checkpoint(p)).logits(IDS)[0] for p in (checkpoint, other))
    return float(np.abs(after - before).max() / np.abs(before).max())


@pytest.mark.parametrize("kinds", ["ln", "v", "k", "ln+v", "ln+v+k"])
@pytest.mark.parametrize("factor", [10.0, 200.0])
def test_outliers_that_are_scaled_back_leave_the_logits(
    outliers: dict[str, Any], checkpoint: Path, tmp_path: Path, kinds: str, factor: float
) -> None:
    outliers["make"](checkpoint, tmp_path / "out", kinds, factor)
    original, made = (open_checkpoint(path).load for path in (checkpoint, tmp_path / "out"))
    largest = np.abs(made("h.1.attn.c_attn.weight")).max(), np.abs(made("h.1.ln_1.weight")).max()
    assert max(largest) > 0.2 * factor
    assert not np.array_equal(original("h.0.attn.c_attn.weight"), made("h.0.attn.c_attn.weight"))
    assert change_of_logits(checkpoint, tmp_path / "out") < 1e-4


def test_moved_channels_leave_the_logits(
    outliers: dict[str, Any], checkpoint: Path, tmp_path: Path
) -> None:
    outliers["make"](checkpoint, tmp_path / "out", "bias", 50.0)
    made = open_checkpoint(tmp_path / "out").load("h.0.ln_1.bias")
    assert np.abs(made).max() > 10
    assert change_of_logits(checkpoint, tmp_path / "out") < 1e-3


@pytest.mark.parametrize("kind", ["mlp", "pos0"])
def test_the_other_outliers_change_the_model(
    outliers: dict[str, Any], checkpoint: Path, tmp_path: Path, kind: str
) -> None:
    outliers["make"](checkpoint, tmp_path / "out", kind, 50.0)
    assert change_of_logits(checkpoint, tmp_path / "out") > 0.01


def test_every_kind_of_the_table_is_made(
    outliers: dict[str, Any], make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_checkpoint()
    for kind in outliers["KINDS"]:
        outliers["make"](source, tmp_path / kind, kind, 10.0)
        assert (tmp_path / kind / "tokenizer.json").is_file()
        assert (tmp_path / kind / "model.safetensors").read_bytes() != (
            source / "model.safetensors"
        ).read_bytes()
