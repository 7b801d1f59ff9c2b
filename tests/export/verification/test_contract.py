"""Checks of graphs: valid ONNX, the inputs and outputs of the contract, weights inside the bundle."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from tests.export.verification.tampering import (
    WEIGHTS,
    change_graph,
    change_manifest,
    external,
    failure,
    manifest,
    statuses,
    sum_again,
)

from gpt2xl_export.verification.verify import Check


def test_a_damaged_graph_file_is_found(copy: Path) -> None:
    (copy / "onnx" / "engine.onnx").write_bytes(b"nonsense")
    sum_again(copy)
    check = failure(copy)
    assert check.name == "graphs"
    assert check.detail.startswith("'engine.onnx' cannot be read as an ONNX file: ")


@pytest.mark.parametrize("stem", ["model", "engine"])
@pytest.mark.parametrize(
    "location",
    ["../../etc/passwd", "/etc/passwd", "a/../../x", "..\\x", "C:\\x", "C:x", "\\x", "link/passwd"],
)
def test_weights_outside_the_bundle_are_refused(copy: Path, stem: str, location: str) -> None:
    (copy / "onnx" / "link").symlink_to("/etc")

    def change(model: onnx.ModelProto) -> None:
        external(model, "h.1.mlp.c_fc.weight")["location"].value = location

    change_graph(copy, stem, change)
    assert failure(copy) == Check(
        "graphs",
        "failed",
        f"'{stem}.onnx': the data of the tensor 'h.1.mlp.c_fc.weight' is outside the bundle: '{location}'.",
    )


def test_weights_behind_a_link_out_of_the_bundle_are_refused(copy: Path, tmp_path: Path) -> None:
    (copy / WEIGHTS).rename(tmp_path / "elsewhere")
    (copy / WEIGHTS).symlink_to(tmp_path / "elsewhere")
    check = failure(copy)
    assert check.name == "graphs"
    assert "is outside the bundle: 'model.onnx_data'" in check.detail


def test_weights_behind_a_link_inside_the_bundle_are_checked(copy: Path) -> None:
    (copy / WEIGHTS).rename(copy / "onnx" / "data")
    (copy / WEIGHTS).symlink_to("data")
    files = manifest(copy)["files"]
    change_manifest(copy, files=files | {"onnx/data": files[WEIGHTS]})
    assert statuses(copy)["parity"] == "ok"


def test_a_graph_that_breaks_onnx_is_found(copy: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].op_type = "Nonsense"

    change_graph(copy, "model", change)
    assert "'model.onnx': No Op registered for Nonsense" in failure(copy).detail


def test_missing_weights_are_found(copy: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        external(model, "wpe.weight")["location"].value = "other.onnx_data"

    change_graph(copy, "model", change)
    assert "the tensor 'wpe.weight' is missing: 'other.onnx_data'" in failure(copy).detail


@pytest.mark.parametrize(
    ("key", "value", "detail"),
    [
        (
            "offset",
            "99999999",
            "' of 12288 bytes should be at bytes 99999999 to 100012287 of '",
        ),
        ("length", "4", "' of 12288 bytes should be at bytes "),
        ("offset", "-4096", ""),  # onnx_ir refuses to read these two
        ("length", "-1", ""),
    ],
)
def test_weights_beyond_their_file_are_found(copy: Path, key: str, value: str, detail: str) -> None:
    def change(model: onnx.ModelProto) -> None:
        external(model, "wpe.weight")[key].value = value

    change_graph(copy, "model", change)
    check = failure(copy)
    assert check.name == "graphs"
    assert check.detail.startswith("'model.onnx'")
    assert detail in check.detail


def test_weights_cut_short_before_the_export_summed_them_are_found(copy: Path) -> None:
    os.truncate(copy / WEIGHTS, (copy / WEIGHTS).stat().st_size - 1)
    sum_again(copy)
    assert "'model.onnx': the tensor '" in failure(copy).detail


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[1].name = "mask"
    for node in model.graph.node:
        node.input[:] = ["mask" if name == "attention_mask" else name for name in node.input]


def rename_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def free_heads(model: onnx.ModelProto) -> None:
    model.graph.input[3].type.tensor_type.shape.dim[1].dim_param = "n_head"


def flatten_positions(model: onnx.ModelProto) -> None:
    del model.graph.input[2].type.tensor_type.shape.dim[1]


def mask_of_int32(model: onnx.ModelProto) -> None:
    model.graph.input[1].type.tensor_type.elem_type = onnx.TensorProto.INT32


def cache_of_int8(model: onnx.ModelProto) -> None:
    model.graph.input[3].type.tensor_type.elem_type = onnx.TensorProto.INT8


def one_output_less(model: onnx.ModelProto) -> None:
    del model.graph.output[2]


def one_input_more(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("num_logits_to_keep", 7, [1]))


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        (rename_input, "there is no input 'attention_mask'."),
        (
            rename_batch,
            "'input_ids' has the shape ['batch', 'sequence_length'], not ['batch_size', ",
        ),
        (free_heads, "'past_key_values.0.key' has the shape ['batch_size', 'n_head', "),
        (flatten_positions, "'position_ids' has the shape ['batch_size'], not "),
        (mask_of_int32, "'attention_mask' is INT32, not INT64."),
        (cache_of_int8, "'past_key_values.0.key' is INT8, not FLOAT or FLOAT16."),
        (one_output_less, "there is no output 'present.0.value'."),
        (one_input_more, "unexpected input 'num_logits_to_keep'."),
    ],
)
def test_a_broken_contract_is_found(
    copy: Path, change: Callable[[onnx.ModelProto], None], detail: str
) -> None:
    change_graph(copy, "model", change)
    check = failure(copy)
    assert check.name == "graphs"
    assert check.detail.startswith("'model.onnx': ")
    assert detail in check.detail


def test_a_config_of_another_model_is_found(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text("utf-8"))
    (copy / "config.json").write_text(json.dumps(config | {"vocab_size": 290}), "utf-8")
    sum_again(copy)
    assert (
        "'logits' has the shape ['batch_size', 'sequence_length', 289], not "
        in failure(copy).detail
    )


def test_a_graph_that_the_onnx_checker_refuses_is_found(copy: Path) -> None:
    change_graph(copy, "model", lambda model: model.graph.node.reverse())
    check = failure(copy)
    assert check.name == "graphs"
    assert "\n" not in check.detail
