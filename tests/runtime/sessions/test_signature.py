"""Graphs whose inputs and outputs do not fit their config.json."""

import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from gpt2xl import BundleError, load

Change = Callable[[onnx.ModelProto], None]


def shape_of(model: onnx.ModelProto, name: str) -> onnx.TensorShapeProto:
    values = [*model.graph.input, *model.graph.output]
    (shape,) = (value.type.tensor_type.shape for value in values if value.name == name)
    assert isinstance(shape, onnx.TensorShapeProto)
    return shape


def dim(name: str, at: int, size: int | str) -> Change:
    """Declare dimension ``at`` of the input or output ``name`` to be ``size``."""

    def change(model: onnx.ModelProto) -> None:
        found = shape_of(model, name).dim[at]
        found.Clear()
        if isinstance(size, int):
            found.dim_value = size
        else:
            found.dim_param = size

    return change


def fewer_dims(name: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        shape_of(model, name).dim.pop()

    return change


def drop_output(name: str) -> Change:
    def change(model: onnx.ModelProto) -> None:
        (value,) = (value for value in model.graph.output if value.name == name)
        model.graph.output.remove(value)

    return change


def extra_input(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("use_cache_branch", 9, [1]))


def rename(model: onnx.ModelProto) -> None:
    model.graph.output[-1].name = model.graph.node[-1].output[0] = "last"


# By graph: what is changed, and what is said of it. onnxruntime itself refuses some, in one line, too.
CHANGES: dict[str, tuple[str, Change, str]] = {
    "heads of unknown number": (
        "engine",
        dim("past_key_values.0.key", 1, "x"),
        r"'past_key_values\.0\.key' is tensor\(float\) of \['batch_size', 'x', 'max_sequence_length'"
        r", 16\], not .* of \[any, 2, any, 16\]",
    ),
    "a vocabulary of unknown size": (
        "engine",
        dim("logits", 2, "v"),
        r"'logits' is tensor\(float\) of .*'v'\], not tensor\(float\) of \[any, any, 289\]",
    ),
    "a past of three dimensions": ("engine", fewer_dims("past_key_values.1.value"), "engine.onnx'"),
    "other heads": ("model", dim("past_key_values.1.key", 3, 8), r"onnx'"),
    "ids of three dimensions": ("model", lambda m: shape_of(m, "input_ids").dim.add(), "input_ids"),
    "a layer not given back": (
        "model",
        drop_output("present.1.key"),
        r"lacks present\.1\.key: not",
    ),
    "an input nobody knows": ("model", extra_input, "wants the input 'use_cache_branch'"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_graph_that_does_not_fit_its_config_is_refused(
    make_foreign: Callable[[], Path], case: str
) -> None:
    stem, change, message = CHANGES[case]
    folder = make_foreign()
    if stem == "model":
        (folder / "onnx" / "engine.onnx").unlink()
    path = folder / "onnx" / f"{stem}.onnx"
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=message):
        load(folder)


@pytest.mark.parametrize("stem", ["engine", "model"])
@pytest.mark.parametrize("name", [b"input_ids", b"logits", b"past_key_values.0.key", b"batch_size"])
def test_a_name_that_is_not_utf_8_is_refused(
    make_foreign: Callable[[], Path], stem: str, name: bytes
) -> None:
    folder = make_foreign()
    if stem == "model":
        (folder / "onnx" / "engine.onnx").unlink()
    path = folder / "onnx" / f"{stem}.onnx"
    path.write_bytes(path.read_bytes().replace(name, b"\xff" + name[1:]))
    with pytest.raises(BundleError, match=rf"{stem}\.onnx'"):
        load(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("n_layer", 3, r"lacks past_key_values\.2\.key.*not a GPT-2 of 3 layers"),
        ("n_layer", 1, r"wants the input 'past_key_values\.1\.key', which nothing feeds"),
        ("n_head", 4, r"not .* of \[any, 4, any, 8\]"),
        ("vocab_size", 288, r"not tensor\(float\) of \[any, any, 288\]"),
    ],
)
def test_a_config_of_another_model_is_noticed_before_anything_runs(
    make_foreign: Callable[[], Path], key: str, value: int, message: str
) -> None:
    folder = make_foreign()
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace(f'"{key}": ', f'"{key}": {value}, "was": '))
    with pytest.raises(BundleError, match=message):
        load(folder)


def test_float16_logits_of_foreign_graphs_are_accepted(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(make_bundle(None, "fp16"), tmp_path / "copy")
    (folder / "gpt2xl.json").unlink()
    (folder / "onnx" / "engine_fp16.onnx").unlink()
    assert load(folder).generate("Once", greedy=True, max_new_tokens=3).new_ids
