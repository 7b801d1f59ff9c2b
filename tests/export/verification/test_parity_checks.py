"""Checks of numbers: the graphs compared with each other and with the source."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file
from tests.export.verification.tampering import (
    WEIGHTS,
    change_graph,
    change_manifest,
    external,
    failure,
    statuses,
    sum_again,
)

from gpt2xl_export.check.difference import Tolerance
from gpt2xl_export.recipes import RECIPES
from gpt2xl_export.verification.bundle_under_test import BundleUnderTest
from gpt2xl_export.verification.verify import verify


def test_a_float32_bundle_has_a_small_tolerance(bundle: Path) -> None:
    tested = BundleUnderTest(bundle)
    assert tested.is_exact
    assert tested.tolerance == Tolerance(relative_logit_diff=1e-3)


@pytest.mark.parametrize(
    "changes", [{"kv": "int8"}, {"keep": ["int8:h.0.*"]}, {"precision": "int8"}]
)
def test_a_bundle_with_int8_parts_has_the_tolerance_of_int8(
    copy: Path, changes: dict[str, object]
) -> None:
    change_manifest(copy, **changes)
    tested = BundleUnderTest(copy)
    assert not tested.is_exact
    assert tested.tolerance == RECIPES["int8"].tolerance


def test_a_graph_that_optimum_built_is_run_as_a_whole(copy: Path, checkpoint: Path) -> None:
    (copy / "onnx" / "engine.onnx").unlink()
    change_graph(copy, "model", rename_first_layer)
    assert failure(copy).name == "parity"  # there is no place to cut
    change_manifest(copy, backend="optimum")
    checks = {check.name: check for check in verify(copy, checkpoint)}
    assert checks["parity"].detail.startswith("portable, whole, stepwise and a page: ")
    assert checks["source parity"].status == "ok"


def rename_first_layer(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        node.input[:] = ["first" if name == "h.0" else name for name in node.input]
        node.output[:] = ["first" if name == "h.0" else name for name in node.output]


def exchange(model: onnx.ModelProto) -> None:
    """Let two weights of one shape point at each other's data."""
    one, two = (external(model, f"h.{layer}.mlp.c_fc.weight")["offset"] for layer in (0, 1))
    one.value, two.value = two.value, one.value


def test_two_weights_exchanged_in_one_graph_are_found_by_the_other(copy: Path) -> None:
    change_graph(copy, "engine", exchange)
    check = failure(copy)
    assert check.name == "parity"
    assert check.detail.startswith(
        "the engine graph, whole, compared with the portable graph: relative_logit"
    )


def test_two_weights_exchanged_in_both_are_found_by_the_source(
    copy: Path, checkpoint: Path
) -> None:
    for stem in ("engine", "model"):
        change_graph(copy, stem, exchange)
    assert "failed" not in statuses(copy).values()
    check = failure(copy, checkpoint)
    assert check.name == "source parity"
    assert "relative_logit_diff is " in check.detail


def test_nan_weights_are_found(copy: Path) -> None:
    model = onnx.load(copy / "onnx" / "model.onnx", load_external_data=False)
    with (copy / WEIGHTS).open("r+b") as file:
        file.seek(int(external(model, "ln_f.weight")["offset"].value))
        file.write(np.full(4, np.nan, np.float32).tobytes())
    sum_again(copy)
    with np.errstate(invalid="ignore"):
        check = failure(copy)
    assert (check.name, "relative_logit_diff is nan" in check.detail) == ("parity", True)


def test_without_an_engine_graph_the_portable_one_is_compared_with_itself(copy: Path) -> None:
    (copy / "onnx" / "engine.onnx").unlink()
    sum_again(copy)
    checks = {check.name: check for check in verify(copy)}
    assert checks["parity"].detail.startswith("portable, whole, stepwise and a page: ")


def test_without_a_portable_graph_parity_is_skipped(copy: Path) -> None:
    (copy / "onnx" / "model.onnx").unlink()
    sum_again(copy)
    assert statuses(copy)["parity"] == "skipped"


def test_a_bundle_of_unknown_precision_is_found(copy: Path) -> None:
    change_manifest(copy, precision="int3")
    assert failure(copy).detail == "'gpt2xl.json' has the unknown precision 'int3'."


def test_another_source_is_found(bundle: Path, make_checkpoint: Callable[..., Path]) -> None:
    source = make_checkpoint(seed=1)
    check = failure(bundle, source)
    assert check.name == "source sums"
    assert check.detail == f"'{source}' is not the source: model.safetensors differs."


def test_a_source_with_one_other_weight_is_found_even_without_sums(
    copy: Path, make_checkpoint: Callable[..., Path]
) -> None:
    source = make_checkpoint()
    tensors = load_file(source / "model.safetensors")
    tensors["h.1.ln_2.bias"][3] += 1
    save_file(tensors, source / "model.safetensors")
    change_manifest(copy, source={"name": "tiny"})
    assert failure(copy, source).name == "source parity"


def test_a_source_with_another_config_is_found(
    copy: Path, make_checkpoint: Callable[..., Path]
) -> None:
    change_manifest(copy, source=None)
    check = failure(copy, make_checkpoint({"layer_norm_epsilon": 1e-6}))
    assert check.name == "source parity"
    assert check.detail.endswith("has another config.json than the bundle.")
