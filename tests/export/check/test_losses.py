"""Exports that lose more than their precision should: who is told, and whether the advice helps."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import Gpt2xlWarning
from gpt2xl_export.check.losses import FINER, PROMISED_KL, losses
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.recipes import RECIPES

ERRORS = {"h.0.a": 0.02, "h.0.b": 0.3, "h.1.a": 0.04, "h.1.b": 0.03}


def manifest(precision: str, portable: float, engine: float | None = None) -> dict[str, Any]:
    found = {"portable": portable} | ({} if engine is None else {"engine": engine})
    # What short prompts lose does not count.
    modes = {kind: {"page": {"mean_kl": kl}, "whole": {"mean_kl": 9}} for kind, kl in found.items()}
    return {
        "precision": precision,
        "rounding": "gptq",
        "parity": modes,
        "calibration": {"errors": ERRORS},
    }


@pytest.mark.parametrize("precision", PROMISED_KL)
def test_within_the_promise_nothing_is_said(precision: str) -> None:
    promised = PROMISED_KL[precision]
    assert list(losses(manifest(precision, promised, promised))) == []
    assert list(losses(manifest(precision, promised))) == []
    for worse in ((2 * promised, 0), (0, 2 * promised), (2 * promised,)):
        (message,) = losses(manifest(precision, *worse))
        assert f"{precision} loses more than usual" in message
        assert f"KL {2 * promised:.2g} to float32" in message


def test_every_precision_but_float32_has_a_promise() -> None:
    assert set(PROMISED_KL) == set(RECIPES) - {"fp32"}
    assert list(losses(manifest("fp32", 9))) == []


def test_the_three_worst_matrices_and_the_options_are_named() -> None:
    (message,) = losses(manifest("int8", 0.5))
    assert message == (
        "int8 loses more than usual on this model: KL 0.5 to float32 on a page of text. The least"
        " exact products are those of h.0.b (30.0%), h.1.a (4.0%), h.1.b (3.0%); try"
        " `--keep 'int8-weight:h.0.b'` or `-p int8-weight`."
    )


def test_a_precision_without_keep_rules_is_not_advised_one() -> None:
    (message,) = losses(manifest("int4-fp16", 0.5))
    assert message.endswith("; try `-p int8-weight`.")


def test_without_calibrated_matrices_float32_is_advised() -> None:
    content = manifest("fp16", 0.5)
    del content["calibration"]
    (message,) = losses(content)
    assert message.endswith("on a page of text; try `-p fp32`.")


def test_what_is_advised_exists() -> None:
    assert set(FINER.values()) <= set(RECIPES)
    for precision in FINER:
        assert FINER[precision] != precision
        assert PROMISED_KL[precision] > PROMISED_KL.get(FINER[precision], 0)


def loss(content: dict[str, Any]) -> float:
    return max(float(content["parity"][kind]["page"]["mean_kl"]) for kind in ("portable", "engine"))


def export_quietly(source: Path, out: Path, options: ExportOptions) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Gpt2xlWarning)
        return export(source, out, options)


def test_the_advised_rule_makes_an_export_more_exact(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_checkpoint({"n_embd": 136, "n_head": 17})
    options = ExportOptions("int8", keep=("int4:h.*.mlp.c_proj.weight",))
    with pytest.warns(Gpt2xlWarning, match="int8 loses more than usual on this model") as warned:
        bad = export(source, tmp_path / "bad", options)
    assert loss(bad) > PROMISED_KL["int8"]
    (warning,) = warned
    assert warning.filename == __file__
    assert "mlp.c_proj.weight (" in str(warning.message)
    rule = re.search(r"--keep '([^']+)'", str(warning.message))
    assert rule is not None
    kept = ExportOptions("int8", keep=(*options.keep, rule[1]))
    assert loss(export_quietly(source, tmp_path / "better", kept)) < loss(bad)


def test_a_finer_precision_is_more_exact(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_checkpoint({"n_embd": 136, "n_head": 17})
    with pytest.warns(Gpt2xlWarning, match=r"or `-p int8-weight`\.$"):
        bad = export(source, tmp_path / "bad", ExportOptions("int4"))
    better = export_quietly(source, tmp_path / "better", ExportOptions("int8-weight"))
    assert loss(better) < 0.1 * loss(bad)
