"""The matrices of a model rounded by GPTQ, layer by layer."""

from pathlib import Path

import numpy as np
import pytest

from gpt2xl_export.reference.forward import Reference, apply_linear
from gpt2xl_export.rounding.calibration import ROWS, kv_ranges
from gpt2xl_export.rounding.gptq import WINDOW, round_with_inputs
from gpt2xl_export.rounding.layers import CalibrationText, calibration_text, round_layers
from gpt2xl_export.rounding.own_text import own_text
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.source.tensor_files import FloatArray


@pytest.fixture
def opened(checkpoint: Path) -> Checkpoint:
    return open_checkpoint(checkpoint)


def names_of(checkpoint: Checkpoint) -> list[str]:
    return [n for n in checkpoint.tensor_names if ".c_" in n and n.endswith("weight")]


def rounded_weights(checkpoint: Checkpoint, text: CalibrationText) -> dict[str, FloatArray]:
    layers = round_layers(checkpoint, names_of(checkpoint), 16, text)
    rounded = {name: weight for layer in layers for name, weight in layer.weights.items()}
    return {n: weight.restored()[: len(checkpoint.load(n))] for n, weight in rounded.items()}


def test_with_little_text_a_matrix_is_rounded_for_the_float_model(opened: Checkpoint) -> None:
    seen: dict[str, FloatArray] = {}

    def watched(name: str, x: FloatArray) -> FloatArray:
        seen[f"{name}.weight"] = x
        return apply_linear(opened.load, name, x)

    Reference(opened, watched).logits([[3, 5, 8, 13]])
    found = rounded_weights(opened, CalibrationText([[3, 5, 8, 13]], is_long=False))
    assert list(found) == names_of(opened)
    for name, values in found.items():
        alone = round_with_inputs(opened.load(name), seen[name], 4, 16, WINDOW).restored()
        assert np.array_equal(values, alone)


def test_only_the_named_matrices_are_rounded_up_to_the_last_layer(opened: Checkpoint) -> None:
    text = CalibrationText([[3, 5, 8, 13]], is_long=False)
    names = ["h.0.mlp.c_fc.weight", "h.0.attn.c_proj.weight"]
    (layer,) = round_layers(opened, names, 16, text)
    assert list(layer.weights) == names[::-1]
    assert list(round_layers(opened, [], 16, text)) == []
    found = [
        list(layer.weights) for layer in round_layers(opened, ["h.1.mlp.c_fc.weight"], 16, text)
    ]
    assert found == [[], ["h.1.mlp.c_fc.weight"]]


def test_compensating_for_the_layers_before_brings_the_outputs_closer(
    opened: Checkpoint,
) -> None:
    text, other = own_text(opened, ROWS, 60), own_text(opened, 48, 60)[ROWS:]
    exact = Reference(opened).logits(other)

    def error(is_long: bool) -> float:
        changed = rounded_weights(opened, CalibrationText(text, is_long=is_long))
        load = lambda name: changed[name] if name in changed else opened.load(name)  # noqa: E731
        model = Checkpoint(opened.folder, opened.config, load, opened.tensor_names, ())
        return float(np.square(np.subtract(Reference(model).logits(other), exact)).mean())

    assert error(True) < 0.9 * error(False)


def test_the_ranges_of_keys_and_values_are_those_on_the_text(opened: Checkpoint) -> None:
    rows = np.random.default_rng(1).integers(0, 280, (1, 40)).tolist()
    layers = round_layers(opened, names_of(opened), 16, CalibrationText(rows, is_long=False))
    found = [layer.kv_range for layer in layers]
    assert len(found) == opened.config.n_layer
    np.testing.assert_array_equal(np.array(found), np.array(kv_ranges(opened, rows[0])))


def test_a_model_too_large_to_write_a_text_gets_the_page(
    opened: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = calibration_text(opened, [1, 2])
    assert (len(own.rows), own.is_long) == (ROWS, True)
    monkeypatch.setattr("gpt2xl_export.rounding.calibration.BUDGET", 0)
    assert calibration_text(opened, [1, 2]) == CalibrationText([[1, 2]], is_long=False)
