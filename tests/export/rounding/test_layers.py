"""The matrices of a model rounded by GPTQ, layer by layer."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tests.export.outliers import with_outliers

from gpt2xl_export.formats.int8 import Int8
from gpt2xl_export.output.calibrating import ENOUGH, text_chooser
from gpt2xl_export.reference.forward import Reference, apply_linear
from gpt2xl_export.rounding.calibration import ROWS, kv_range, page
from gpt2xl_export.rounding.equalization import equalized
from gpt2xl_export.rounding.gptq import WINDOW, round_with_inputs
from gpt2xl_export.rounding.layers import CalibratedLayer, Plan, calibrate
from gpt2xl_export.rounding.own_text import own_text
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

SHORT = [[3, 5, 8, 13]]
Rows = Sequence[Sequence[int]]


@pytest.fixture
def opened(checkpoint: Path) -> Checkpoint:
    return open_checkpoint(checkpoint)


def names_of(checkpoint: Checkpoint) -> list[str]:
    return [n for n in checkpoint.tensor_names if ".c_" in n and n.endswith("weight")]


def layers_of(
    checkpoint: Checkpoint, names: list[str], rows: Rows, *, compensates: bool = False
) -> list[CalibratedLayer]:
    """All layers, rounded in blocks of 16 without equalization."""
    plan = Plan(rounded=dict.fromkeys(names, 16))
    return list(calibrate(checkpoint, plan, rows, compensates=compensates))


def rounded_weights(
    checkpoint: Checkpoint, rows: Rows, *, compensates: bool
) -> dict[str, FloatArray]:
    layers = layers_of(checkpoint, names_of(checkpoint), rows, compensates=compensates)
    rounded = {name: weight for layer in layers for name, weight in layer.weights.items()}
    return {n: weight.restored()[: len(checkpoint.load(n))] for n, weight in rounded.items()}


def recorded(checkpoint: Checkpoint, rows: Rows) -> dict[str, FloatArray]:
    """By weight, the inputs of all linear layers."""
    seen: dict[str, FloatArray] = {}

    def watched(name: str, x: FloatArray) -> FloatArray:
        seen[f"{name}.weight"] = x
        return apply_linear(checkpoint.load, name, x)

    Reference(checkpoint, watched).logits(rows)
    return seen


def test_without_compensation_a_matrix_is_rounded_for_the_float_model(opened: Checkpoint) -> None:
    seen = recorded(opened, SHORT)
    found = rounded_weights(opened, SHORT, compensates=False)
    assert list(found) == names_of(opened)
    for name, values in found.items():
        alone = round_with_inputs(opened.load(name), seen[name], 4, 16, WINDOW).restored()
        assert np.array_equal(values, alone)


def test_only_the_named_matrices_are_rounded(opened: Checkpoint) -> None:
    names = ["h.0.mlp.c_fc.weight", "h.0.attn.c_proj.weight"]
    for compensates in (False, True):
        found = layers_of(opened, names, SHORT, compensates=compensates)
        assert [list(layer.weights) for layer in found] == [names[::-1], []]
    found = layers_of(opened, ["h.1.mlp.c_fc.weight"], SHORT)
    assert [list(layer.weights) for layer in found] == [[], ["h.1.mlp.c_fc.weight"]]


def test_compensating_for_the_layers_before_brings_the_outputs_closer(
    opened: Checkpoint,
) -> None:
    text, other = own_text(opened, ROWS, 60), own_text(opened, 48, 60)[ROWS:]
    exact = Reference(opened).logits(other)

    def error(compensates: bool) -> float:
        changed = rounded_weights(opened, text, compensates=compensates)
        load = lambda name: changed[name] if name in changed else opened.load(name)  # noqa: E731
        model = Checkpoint(opened.folder, opened.config, load, opened.tensor_names, ())
        return float(np.square(np.subtract(Reference(model).logits(other), exact)).mean())

    assert error(True) < 0.9 * error(False)


@pytest.mark.parametrize("compensates", [False, True])
def test_equalized_matrices_are_rounded_for_their_changed_inputs(
    make_checkpoint: Callable[..., Path], tmp_path: Path, compensates: bool
) -> None:
    opened = open_checkpoint(with_outliers(make_checkpoint(), tmp_path / "spiky", "units"))
    rows = own_text(opened, ROWS, 60)
    names = [name for name in names_of(opened) if name.startswith("h.0.")]
    plan = Plan(dict.fromkeys(names, Int8().product), rounded=dict.fromkeys(names, 16))
    layer, _ = calibrate(opened, plan, rows, compensates=compensates)
    assert "h.0.mlp.c_proj" in layer.changes
    assert set(layer.errors) == set(layer.weights) == set(names)
    seen, even = recorded(opened, rows), equalized(opened, layer.changes)
    for name in names:
        change = layer.changes.get(name.removesuffix(".weight"))
        x = change.apply(seen[name]) if change else seen[name]
        exact, restored = even.load(name), layer.weights[name].restored()
        error = np.linalg.norm(x @ (restored - exact)) / np.linalg.norm(x @ exact)
        assert error < 0.15, name


def test_the_ranges_of_keys_and_values_are_those_on_the_text(opened: Checkpoint) -> None:
    rows = np.random.default_rng(1).integers(0, 280, (2, 40)).tolist()
    found = [layer.kv_range for layer in layers_of(opened, names_of(opened), rows)]
    assert len(found) == opened.config.n_layer
    seen = recorded(opened, rows)
    for layer, ranges in enumerate(found):
        name = f"h.{layer}.attn.c_attn"
        qkv = apply_linear(opened.load, name, seen[f"{name}.weight"])
        _, keys, values = np.split(qkv, 3, -1)
        expected = kv_range(keys, values, opened.config)
        np.testing.assert_array_equal(np.array(ranges), np.array(expected))


def test_the_ranges_of_values_are_those_of_equalized_values(opened: Checkpoint) -> None:
    plan = Plan({"h.0.attn.c_proj.weight": Int8().product})
    layers = [*calibrate(opened, plan, SHORT, compensates=False)]
    change, keys = (layers[0].changes[f"h.0.{name}"] for name in ("attn.c_proj", "attn.keys"))
    qkv = apply_linear(
        opened.load, "h.0.attn.c_attn", recorded(opened, SHORT)["h.0.attn.c_attn.weight"]
    )
    _, key, value = np.split(qkv, 3, -1)
    expected = kv_range(keys.apply(key), change.apply(value), opened.config)
    np.testing.assert_allclose(np.array(layers[0].kv_range), np.array(expected), rtol=1e-5)
    (_, plain) = layers_of(opened, [], SHORT)
    np.testing.assert_array_equal(np.array(layers[1].kv_range), np.array(plain.kv_range))


def test_keys_are_shifted_to_the_middle_of_their_range(opened: Checkpoint) -> None:
    plan = Plan({"h.0.attn.c_attn.weight": Int8().product})
    layer, _ = calibrate(opened, plan, SHORT, compensates=False)
    found = recorded(equalized(opened, layer.changes), SHORT)["h.0.attn.c_attn.weight"]
    even = equalized(opened, layer.changes)
    key = np.split(apply_linear(even.load, "h.0.attn.c_attn", found), 3, -1)[1]
    np.testing.assert_allclose(key.max(0), -key.min(0), atol=1e-4 * np.abs(key).max())


def test_a_model_too_large_to_write_a_text_gets_the_page(
    opened: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encode(text: str) -> list[int]:
        return list(text.encode())

    choose = text_chooser(opened, encode, None)
    own, ours = choose(True), page(encode, opened.config)
    assert own.origin == "the model's own text and gpt2xl's page"
    assert list(own.rows[ROWS:]) == list(ours.rows)
    assert own.tokens >= ENOUGH
    assert choose(False) == ours
    monkeypatch.setattr("gpt2xl_export.rounding.calibration.BUDGET", 0)
    assert choose(True) == ours
    assert {len(row) for row in ours.rows} == {opened.config.n_positions}
