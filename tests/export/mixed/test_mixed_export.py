"""Exports in mixed precision, whole: budgets hold, the manifest says why, and its rules make the same bundle again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import ExportError, load
from gpt2xl_export.exporting import export
from gpt2xl_export.mixed import attempts
from gpt2xl_export.mixed.sizes import files_bytes
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.progress import Progress
from gpt2xl_export.recipes import RECIPES, assign

MAX_KL = 0.003
Export = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def exported(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Progress]]:
    """A bundle within MAX_KL, and what was reported."""
    out, seen = tmp_path_factory.mktemp("mixed") / "out", list[Progress]()
    export(checkpoint, out, ExportOptions("auto", max_kl=MAX_KL), progress=seen.append)
    return out, seen


@pytest.fixture(scope="module")
def manifest(exported: tuple[Path, list[Progress]]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((exported[0] / "gpt2xl.json").read_text())
    return found


def test_the_measured_divergence_is_within_the_budget_and_uses_it(manifest: dict[str, Any]) -> None:
    chosen = manifest["chosen"]
    assert 0 < chosen["measured"]["kl"] <= MAX_KL == chosen["max_kl"]
    assert chosen["measured"] in chosen["attempts"]
    fitting = [a["size"] for a in chosen["attempts"] if a["kl"] <= MAX_KL]
    assert chosen["measured"]["size"] == min(fitting)
    assert chosen["held_out"]["tokens"] >= chosen["measured"]["positions"] > 500


def test_the_manifest_says_what_each_matrix_would_lose_and_take(manifest: dict[str, Any]) -> None:
    matrices = manifest["chosen"]["matrices"]
    assert len({found["format"] for found in matrices.values()}) > 1
    for name, found in matrices.items():
        losses, sizes = found["estimated_kl"], found["size"]
        assert losses.keys() == sizes.keys() == set(attempts.CHOICES)
        assert losses["fp32"] == 0 < losses["int8-weight"] < losses["int4-32"], name
        assert sizes["fp32"] > sizes["int8-weight"] > sizes["int4-32"], name


def test_every_matrix_is_stored_as_it_was_chosen(manifest: dict[str, Any]) -> None:
    for name, found in manifest["chosen"]["matrices"].items():
        form, method = found["format"], manifest["passes"].get(name, {"method": "fp32"})["method"]
        stored = form.replace("int4-", "int4, blocks of ").replace("int8-weight", "int8, blocks")
        assert method.startswith(stored), name


def test_the_rules_make_the_same_bundle_again(
    checkpoint: Path, tmp_path: Path, manifest: dict[str, Any]
) -> None:
    options = ExportOptions(
        manifest["precision"],
        block_size=manifest["block_size"],
        rounding=manifest["rounding"],
        keep=tuple(manifest["keep"]),
    )
    again = export(checkpoint, tmp_path / "out", options)
    assert again["files"] == manifest["files"]
    assert "chosen" not in again


def test_the_bundle_generates(exported: tuple[Path, list[Progress]]) -> None:
    assert load(exported[0]).generate("the king", greedy=True, max_new_tokens=5).new_ids


def test_progress_only_moves_forward_and_names_its_stages(
    exported: tuple[Path, list[Progress]],
) -> None:
    seen = exported[1]
    shares = [report.share for report in seen if report.share is not None]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    stages = list(dict.fromkeys(report.stage for report in seen))
    assert stages == ["hash", "tokenizer", "text", "measure", "weights", "check"]


def test_a_bundle_is_no_larger_than_its_budget(checkpoint: Path, tmp_path: Path) -> None:
    sizes = {}
    for form in ("int4-32", "fp32"):
        export(checkpoint, tmp_path / form, ExportOptions("int4", keep=(f"{form}:*",)))
        sizes[form] = files_bytes(tmp_path / form)
    limit = (sizes["int4-32"] + sizes["fp32"]) // 2
    found = export(checkpoint, tmp_path / "out", ExportOptions("auto", max_size=limit))
    assert 0.7 * limit < files_bytes(tmp_path / "out") <= limit
    assert found["chosen"]["max_size"] == limit


def test_an_impossible_size_is_refused_with_the_nearest(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"max_size 1,000 bytes is not possible: .* about max_size \d"
    ):
        export(checkpoint, tmp_path / "out", ExportOptions("auto", max_size=1000))
    assert not list(tmp_path.iterdir())


def test_a_budget_that_no_attempt_meets_is_named_with_the_nearest(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "CHOICES", ("int4-128", "int4-64", "int4-32"))
    with pytest.raises(ExportError, match=r"max_kl 1e-06 nats is not possible: .* is max_kl"):
        export(checkpoint, tmp_path / "out", ExportOptions("auto", max_kl=1e-6))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_loss_of_perplexity_is_within_the_budget_with_its_error(
    checkpoint: Path, tmp_path: Path
) -> None:
    manifest = export(checkpoint, tmp_path / "out", ExportOptions("auto", max_perplexity_loss=1.5))
    measured = manifest["chosen"]["measured"]
    assert measured["perplexity_loss"] + measured["standard_error"] <= 1.5


@pytest.mark.slow
def test_the_users_text_is_measured_on_where_calibration_ends(
    checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "tales.txt").write_text("the king said to his fair daughter: go. " * 300)
    options = ExportOptions("auto", max_kl=0.01)
    found = export(checkpoint, tmp_path / "out", options, calibration=tmp_path / "tales.txt")
    assert found["chosen"]["held_out"]["text"] == "tales.txt after 4096 tokens"
    assert found["calibration"]["text"].startswith("tales.txt")


def test_assigned_block_sizes_are_in_the_graphs(checkpoint: Path, tmp_path: Path) -> None:
    rules = ("int4-16:h.0.*", "int4-128:*.mlp.c_proj.weight", "int4-64:wte.weight")
    found = export(checkpoint, tmp_path / "out", ExportOptions("int4", block_size=32, keep=rules))
    methods = {name: error["method"] for name, error in found["passes"].items()}
    assert methods["h.0.attn.c_attn.weight"] == "int4, blocks of 16, GPTQ"
    assert methods["h.0.mlp.c_proj.weight"] == "int4, blocks of 128, GPTQ"
    assert methods["h.1.mlp.c_fc.weight"] == "int4, blocks of 32, GPTQ"
    assert methods["wte.weight"] == "int4, blocks of 64"
    assert assign(RECIPES["int4"], methods, rules)["wte.weight"] == "int4-head-64"
    assert load(tmp_path / "out").generate("the king", greedy=True, max_new_tokens=5).new_ids
