"""What an export does with calibration text, and what the manifest says of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from safetensors.numpy import load_file

from gpt2xl import ExportError
from gpt2xl_export.exporting import export
from gpt2xl_export.formats.nbits import NBits
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.options import ExportOptions

LINEARS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
MATRICES = [f"h.{layer}.{linear}" for layer in (0, 1) for linear in LINEARS]
TRAINED = {"int4_rounding": {"method": "nearest", "block_size": 64}}
Tensors = dict[str, npt.NDArray[np.generic]]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A calibration text."""
    path = tmp_path / "mine.txt"
    path.write_text("0 1 2 3 4 5 6 7 8 9 " * 30)
    return path


def tensors_of(bundle: Path) -> Tensors:
    """All weights of the portable graph."""
    (path,) = (bundle / "onnx").glob("model*.onnx")
    return {i.name: onnx.numpy_helper.to_array(i) for i in onnx.load(path).graph.initializer}


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_manifest_lists_every_matrix_with_its_error(
    checkpoint: Path, tmp_path: Path, precision: str
) -> None:
    found = export(checkpoint, tmp_path / "out", ExportOptions(precision))["calibration"]
    assert (
        found["text"]
        == {
            "int8": "gpt2xl's page",
            "int4": "the model's own text and gpt2xl's page",
        }[precision]
    )
    assert found["tokens"] > 96
    assert list(found["errors"]) == [*(f"{name}.weight" for name in MATRICES), "wte.weight"]
    assert all(0 < error < 0.2 for error in found["errors"].values())
    assert found["equalized"]
    assert {name for name in found["equalized"] if name.endswith("mlp.c_proj")} == set()
    assert set(found["equalized"]) < set(MATRICES)


def test_without_quantized_parts_nothing_is_calibrated(checkpoint: Path, tmp_path: Path) -> None:
    for precision in ("fp32", "fp16"):
        assert "calibration" not in export(
            checkpoint, tmp_path / precision, ExportOptions(precision)
        )


def test_an_int8_cache_alone_is_calibrated_without_changes(
    checkpoint: Path, tmp_path: Path
) -> None:
    found = export(checkpoint, tmp_path / "out", ExportOptions(kv="int8"))["calibration"]
    assert (found["text"], found["equalized"], found["divided"]) == ("gpt2xl's page", [], [])


def test_a_kept_matrix_is_not_equalized(checkpoint: Path, tmp_path: Path) -> None:
    options = ExportOptions("int8", keep=("fp32:h.0.*", "fp32:h.1.attn.*"))
    found = export(checkpoint, tmp_path / "out", options)["calibration"]
    assert list(found["errors"]) == ["h.1.mlp.c_fc.weight", "h.1.mlp.c_proj.weight", "wte.weight"]
    assert {*found["equalized"], *found["divided"]} <= {"h.1.mlp.c_fc", "h.1.mlp.c_proj"}


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_a_given_text_decides_the_changes(
    checkpoint: Path, tmp_path: Path, text: Path, precision: str
) -> None:
    options = ExportOptions(precision)
    ours = export(checkpoint, tmp_path / "ours", options)["calibration"]
    given = export(checkpoint, tmp_path / "given", options, calibration=text)["calibration"]
    assert given["text"] == "mine.txt and gpt2xl's page"
    assert given["tokens"] > 600
    assert given["errors"] != ours["errors"]
    mine, other = (tensors_of(tmp_path / name)["h.0.ln_1.weight"] for name in ("ours", "given"))
    assert not np.array_equal(mine, other)


def test_a_path_that_is_a_str_is_a_file(checkpoint: Path, tmp_path: Path, text: Path) -> None:
    manifest = export(checkpoint, tmp_path / "out", ExportOptions("int8"), calibration=str(text))
    assert manifest["calibration"]["text"].startswith("mine.txt and ")


def test_a_text_for_an_export_without_calibration_is_refused(
    checkpoint: Path, tmp_path: Path, text: Path
) -> None:
    for options in (ExportOptions(), ExportOptions("fp16"), ExportOptions(keep=("fp32:h.*",))):
        with pytest.raises(ExportError, match="is not calibrated: leave out the calibration text"):
            export(checkpoint, tmp_path / "out", options, calibration=text)
    for options in (ExportOptions(kv="int8"), ExportOptions(keep=("int8:h.0.*",))):
        out = tmp_path / f"{options.kv}-out"
        assert export(checkpoint, out, options, calibration=text)["calibration"]["tokens"] > 600
    head_only = ExportOptions(keep=("int8-weight:wte.weight",))
    with pytest.raises(ExportError, match="nothing is calibrated"):
        export(checkpoint, tmp_path / "head", head_only, calibration=text)
    assert not (tmp_path / "head").exists()


def nearest_codes(checkpoint: Path, folder: Path) -> Tensors:
    """By matrix, the int4 codes of the checkpoint's weights rounded to nearest."""
    tensors = load_file(checkpoint / "model.safetensors")
    with WeightsFile(folder / "nearest") as weights:
        for name in MATRICES:
            NBits(4, 64).store(name, tensors[f"{name}.weight"].T, weights)
        return {name: weights[f"{name}.q4"].numpy().copy() for name in MATRICES}


def test_a_model_trained_for_rounding_to_nearest_keeps_its_int4_codes(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_checkpoint(TRAINED)
    expected = nearest_codes(source, tmp_path)
    # The division of the values is in the scales of the columns of attn.c_attn.
    for number, keep in enumerate(((), ("int8:h.*.attn.c_proj.weight",), ("int8:h.*.mlp.*",))):
        out = tmp_path / str(number)
        found = export(source, out, ExportOptions("int4", keep=keep))["calibration"]
        tensors = tensors_of(out)
        codes = {name for name in MATRICES if f"{name}.weight.q4" in tensors}
        assert len(codes) == (8, 6, 4)[number]
        for name in codes:
            assert np.array_equal(tensors[f"{name}.weight.q4"], expected[name]), name
        assert not codes & {*found["equalized"], *found["divided"]}
        assert bool(found["equalized"]) == bool(keep)


def test_a_model_trained_for_int4_is_equalized_in_int8_and_by_gptq(
    make_checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_checkpoint(TRAINED)
    for number, options in enumerate(
        (ExportOptions("int8"), ExportOptions("int4", rounding="gptq"))
    ):
        manifest: dict[str, Any] = export(source, tmp_path / str(number), options)
        assert manifest["calibration"]["equalized"]
