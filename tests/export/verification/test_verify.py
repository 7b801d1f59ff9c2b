"""Which checks are done, and those of sums and of the manifest."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.export.verification.tampering import (
    WEIGHTS,
    change_manifest,
    failure,
    manifest,
    statuses,
)

from gpt2xl import BundleError
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.verification.bundle_under_test import BundleUnderTest
from gpt2xl_export.verification.verify import Check, verify

SKIPPED_WITHOUT_SOURCE = {"source sums", "source parity", "published"}


def test_a_bundle_and_its_source_pass_all_checks(bundle: Path, checkpoint: Path) -> None:
    checks = {check.name: check for check in verify(bundle, checkpoint)}
    assert {name for name, check in checks.items() if check.status != "ok"} == {"published"}
    assert checks["published"].detail == "no published outputs of the model 'tiny' are known"
    count = len(manifest(bundle)["files"])
    assert checks["sums"].detail.startswith(f"{count} files, ")
    assert checks["parity"].detail.startswith("portable and engine, whole, stepwise and a page: ")


def test_without_a_source_the_other_checks_are_done(bundle: Path) -> None:
    skipped = {name for name, status in statuses(bundle).items() if status == "skipped"}
    assert skipped == SKIPPED_WITHOUT_SOURCE
    assert list(statuses(bundle)) == [
        "sums", "tokenization", "graphs", "parity", "source sums", "source parity", "published"
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ExportOptions("int8"),
        ExportOptions("int4"),
        ExportOptions("fp16"),
        ExportOptions("fp32", keep=("int4:h.*",)),
        ExportOptions("int8", kv="int8"),
    ],
    ids=["int8", "int4", "fp16", "keep-int4", "kv-int8"],
)
def test_other_precisions_pass(options: ExportOptions, checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "out", options)
    skipped = {name for name, s in statuses(tmp_path / "out", checkpoint).items() if s != "ok"}
    assert skipped == {"published"}
    assert not BundleUnderTest(tmp_path / "out").is_exact


def test_each_check_is_yielded_as_soon_as_it_is_done(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = verify(bundle)
    assert [next(checks).name, next(checks).name] == ["sums", "tokenization"]
    monkeypatch.setattr("gpt2xl_export.verification.verify.check_weights", lambda *_: 1 / 0)
    assert next(checks) == Check("graphs", "failed", "ZeroDivisionError: division by zero")


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a folder"):
        next(verify(tmp_path / "nope"))


def test_a_checkpoint_is_not_a_bundle(checkpoint: Path) -> None:
    assert "it is a checkpoint: run `gpt2xl export " in failure(checkpoint).detail


@pytest.mark.parametrize("name", [WEIGHTS, "onnx/engine.onnx", "tokenizer.json"])
def test_a_flipped_bit_is_found(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    check = failure(copy)
    assert check.name == "sums"
    assert check.detail == f"'{name}' has another sha256 than in the manifest."


def test_a_file_cut_short_is_found(copy: Path) -> None:
    size = (copy / WEIGHTS).stat().st_size
    os.truncate(copy / WEIGHTS, size - 1)
    assert failure(copy).detail == f"'{WEIGHTS}' has {size - 1} bytes, the manifest says {size}."


def test_a_missing_file_is_found(copy: Path) -> None:
    (copy / "genai_config.json").unlink()
    assert failure(copy).detail == "'genai_config.json' is missing."


def test_an_unknown_file_is_an_error_only_among_the_graphs(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    assert "failed" not in statuses(copy).values()
    (copy / "onnx" / "model.onnx_data.old").write_text("theirs")
    assert failure(copy).detail == "'onnx/model.onnx_data.old' is not in the manifest."


@pytest.mark.parametrize(
    ("files", "detail"),
    [
        (None, "'onnx/engine.onnx' is not in the manifest."),
        ([], "gpt2xl.json': files has to be an object, but is []."),
        ({"config.json": 3}, "files.config.json has to be an object, but is 3."),
        ({"config.json": {"size": 3}}, "config.json.sha256 has to be a string, but is None."),
        ({"../secret": {"size": 3, "sha256": ""}}, "'../secret', which is outside the bundle."),
    ],
)
def test_a_manifest_that_lists_no_files_is_found(copy: Path, files: object, detail: str) -> None:
    change_manifest(copy, files=files)
    assert failure(copy).detail.endswith(detail)


def test_without_a_manifest_what_can_be_checked_is_checked(copy: Path) -> None:
    (copy / "gpt2xl.json").unlink()
    found = statuses(copy)
    assert (found.pop("tokenization"), found.pop("graphs")) == ("ok", "ok")
    assert set(found.values()) == {"skipped"}


def test_a_bundle_in_the_hubs_cache_is_checked_whole(
    bundle: Path, as_hub_cache: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    snapshot = as_hub_cache(bundle, tmp_path / "hub")
    assert "failed" not in statuses(snapshot).values()
    assert statuses(snapshot)["parity"] == "ok"
