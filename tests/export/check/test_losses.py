"""Exports that lose more than their precision should: who is told, and whether the advice helps."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.export.outliers import with_head_outliers, with_large_logits

from gpt2xl import Gpt2xlWarning
from gpt2xl_export.check.losses import FINER, PROMISED_KL, losses
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.recipes import RECIPES

ERRORS = {"h.0.a": 0.02, "h.0.b": 0.3, "h.1.a": 0.04, "h.1.b": 0.03}
BAD = "h.1.mlp.c_proj.weight"


def manifest(precision: str, portable: float, engine: float | None = None) -> dict[str, Any]:
    found = {"portable": portable} | ({} if engine is None else {"engine": engine})
    # What short prompts lose does not count.
    modes = {kind: {"page": {"mean_kl": kl}, "whole": {"mean_kl": 9}} for kind, kl in found.items()}
    calibration = {} if precision == "fp16" else {"calibration": {"errors": ERRORS}}
    return {"precision": precision, "rounding": "gptq", "parity": modes} | calibration


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


def test_gptq_is_advised_to_who_rounds_to_nearest() -> None:
    content = manifest("int4", 0.5) | {"rounding": "nearest"}
    (message,) = losses(content)
    assert "try `--rounding gptq` or `--keep '" in message


def test_without_calibrated_matrices_float32_is_advised() -> None:
    (message,) = losses(manifest("fp16", 0.5))
    assert message.endswith("on a page of text; try `-p fp32`.")


@pytest.mark.parametrize("head", ["wte.weight", "lm_head.weight"])
def test_where_the_head_is_worst_it_is_to_be_kept_in_float32(head: str) -> None:
    content = manifest("int8", 0.5)
    content["calibration"] = {"errors": ERRORS | {head: 0.4}}
    (message,) = losses(content)
    assert f"are those of {head} (40.0%), h.0.b (30.0%)" in message
    assert message.endswith(f"; try `--keep 'fp32:{head}'`.")


def test_what_is_advised_exists() -> None:
    assert set(FINER.values()) <= set(RECIPES)
    for precision in FINER:
        assert FINER[precision] != precision
        assert PROMISED_KL[precision] > PROMISED_KL.get(FINER[precision], 0)


def loss(content: dict[str, Any]) -> float:
    return max(float(content["parity"][kind]["page"]["mean_kl"]) for kind in ("portable", "engine"))


@pytest.fixture
def source(make_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    return with_large_logits(make_checkpoint({"n_embd": 64, "n_head": 4}), tmp_path / "large")


def test_the_advised_rule_makes_an_export_more_exact(source: Path, tmp_path: Path) -> None:
    def options(*keep: str) -> ExportOptions:
        return ExportOptions("int8", 256, keep=(f"int4:{BAD}", *keep), rounding="nearest")

    with pytest.warns(Gpt2xlWarning, match="int8 loses more than usual on this model") as warned:
        bad = export(source, tmp_path / "bad", options())
    (warning,) = warned
    assert warning.filename == __file__
    assert f"are those of {BAD} (" in str(warning.message)
    rule = re.search(r"--keep '([^']+)'", str(warning.message))
    assert rule is not None
    better = export(source, tmp_path / "better", options(rule[1]))  # warnings are errors here
    assert loss(better) < 0.5 * loss(bad)


def test_a_head_with_outliers_is_named(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    checkpoint = make_checkpoint({"n_embd": 64, "n_head": 4, "tie_word_embeddings": False})
    source = with_head_outliers(checkpoint, tmp_path / "outliers")
    with pytest.warns(Gpt2xlWarning, match=r"are those of lm_head.weight \(") as warned:
        bad = export(source, tmp_path / "bad", ExportOptions("int8-weight"))
    rule = re.search(r"--keep '([^']+)'", str(warned[0].message))
    assert rule is not None
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", Gpt2xlWarning
        )  # random weights lose more than usual in other matrices
        better = export(source, tmp_path / "better", ExportOptions("int8-weight", keep=(rule[1],)))
    assert loss(better) < 0.6 * loss(bad)


def test_the_advised_precision_is_more_exact(source: Path, tmp_path: Path) -> None:
    with pytest.warns(Gpt2xlWarning, match=r"or `-p int8-weight`\.$"):
        bad = export(source, tmp_path / "bad", ExportOptions("int4"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Gpt2xlWarning)  # it may lose more than usual as well
        better = export(source, tmp_path / "better", ExportOptions("int8-weight"))
    assert loss(better) < 0.1 * loss(bad)
