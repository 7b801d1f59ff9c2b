"""Equalization leaves the float32 model as it is, and changes what costs the other channels their precision."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpt2xl_export.formats.int8 import Int8
from gpt2xl_export.reference.forward import Reference, apply_linear
from gpt2xl_export.rounding.equalization import (
    KEYS,
    LINEARS,
    MLP_OUT,
    Change,
    Changes,
    Trial,
    divisors_of,
    equalized,
    midrange,
)
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

ROWS = [[1, 2, 3, 250, 7], [200]]
FREE = [linear for linear in LINEARS if linear != MLP_OUT]


@pytest.fixture
def opened(checkpoint: Path) -> Checkpoint:
    return open_checkpoint(checkpoint)


def random_changes(checkpoint: Checkpoint, *linears: str) -> Changes:
    """Shifts, and divisors from about 0.1 to 10, for the linear layers of these names in all layers."""
    rng = np.random.default_rng(0)
    changes = {}
    for layer in range(checkpoint.config.n_layer):
        for linear in linears:
            name = f"h.{layer}.{linear}"
            size = len(checkpoint.load(f"{name}.weight"))
            shift, logarithm = rng.normal(size=(2, size)).astype(np.float32)
            none = np.zeros(size, np.float32)
            changes[name] = Change(none if linear == MLP_OUT else shift, np.exp(logarithm))
    return changes


def check_close(found: list[FloatArray], expected: list[FloatArray]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one - other).max() < 1e-5 * np.abs(other).max()


@pytest.mark.parametrize("linears", [*([name] for name in FREE), FREE], ids=str)
def test_equalized_weights_give_the_logits_of_the_original(
    opened: Checkpoint, linears: list[str]
) -> None:
    changes = random_changes(opened, *linears)
    even = equalized(opened, changes)
    for name, change in changes.items():
        for part in ("weight", "bias"):
            assert not np.allclose(even.load(f"{name}.{part}"), opened.load(f"{name}.{part}"))
        assert len(change.divisor) == len(even.load(f"{name}.weight"))
    check_close(Reference(even).logits(ROWS), Reference(opened).logits(ROWS))


def test_shifted_keys_give_the_logits_of_the_original(opened: Checkpoint) -> None:
    shift = np.random.default_rng(0).normal(size=opened.config.n_embd).astype(np.float32)
    even = equalized(opened, {f"h.0.{KEYS}": Change(shift, np.ones_like(shift))})
    moved = opened.load("h.0.attn.c_attn.bias") - even.load("h.0.attn.c_attn.bias")
    assert np.allclose(np.split(moved, 3), [0 * shift, shift, 0 * shift], atol=1e-6)
    check_close(Reference(even).logits(ROWS), Reference(opened).logits(ROWS))


def test_the_inputs_of_the_last_matrix_of_a_layer_are_divided_by_what_runs_the_model(
    opened: Checkpoint,
) -> None:
    changes = random_changes(opened, MLP_OUT)
    even = equalized(opened, changes)

    def divided(name: str, x: FloatArray) -> FloatArray:
        return apply_linear(even.load, name, changes[name].apply(x) if name in changes else x)

    expected = Reference(opened).logits(ROWS)
    check_close(Reference(even, divided).logits(ROWS), expected)
    with pytest.raises(AssertionError):
        check_close(Reference(even).logits(ROWS), expected)


def test_tensors_outside_the_layers_stay(opened: Checkpoint) -> None:
    even = equalized(opened, random_changes(opened, *LINEARS))
    for name in ("wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias"):
        assert np.array_equal(even.load(name), opened.load(name))


def test_a_channel_scaled_up_gets_a_divisor_larger_by_the_same_factor() -> None:
    rng = np.random.default_rng(0)
    inputs, weights = (np.exp(rng.normal(size=99)).astype(np.float32) for _ in range(2))
    factors = np.ones(99, np.float32)
    factors[[4, 50]] = 50, 0.02
    for power in (0.35, 0.5, 0.8):
        plain = divisors_of(inputs, weights, power)
        scaled = divisors_of(inputs * factors, weights / factors, power)
        ratio = scaled / plain / factors
        assert np.allclose(ratio, ratio[0], rtol=1e-5)
        assert 0.8 < ratio[0] < 1.25


def test_unused_channels_are_not_divided() -> None:
    inputs, weights = np.array([0, 8, 2, 1], np.float32), np.array([1, 1, 0, 1], np.float32)
    assert divisors_of(inputs, weights, 0.5)[[0, 2]].tolist() == [1, 1]
    none = np.zeros(4, np.float32)
    assert divisors_of(none, none, 0.5).tolist() == [1, 1, 1, 1]


def spiky(factor: float) -> tuple[FloatArray, FloatArray]:
    """Inputs and weights of 64 channels; two inputs are scaled up, and what reads them down."""
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(200, 64)), rng.normal(size=(64, 40))
    x[:, [5, 40]] *= factor
    weight[[5, 40]] /= factor
    return x.astype(np.float32), weight.astype(np.float32)


def relative_error(
    x: FloatArray, weight: FloatArray, product: Callable[[FloatArray, FloatArray], FloatArray]
) -> float:
    exact = x @ weight
    return float(np.linalg.norm(product(x, weight) - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("is_free", [True, False])
def test_outliers_are_divided_and_the_error_is_that_without_them(is_free: bool) -> None:
    product = Int8().product
    plain = relative_error(*spiky(1), product)
    x, weight = spiky(200)
    assert relative_error(x, weight, product) > 10 * plain
    change, error = Trial(x, weight, product).search(is_free=is_free)
    assert change is not None
    by = change.divisor
    assert sorted(by.argsort()[-2:]) == [5, 40]
    found = relative_error(change.apply(x), weight * by[:, None], product)
    assert error**0.5 == pytest.approx(found, rel=0.2)
    assert found < 1.3 * plain


def test_a_division_of_its_own_divides_outliers_only_and_has_to_be_worth_it() -> None:
    change, _ = Trial(*spiky(200), Int8().product).search(is_free=False)
    assert change is not None
    assert change.divisor.min() == 1
    assert not change.shift.any()
    trial = Trial(*spiky(1.5), Int8().product)
    assert trial.search(is_free=True)[0] is not None
    assert trial.search(is_free=False) == (None, trial.plain_error)


def test_channels_of_one_sign_are_moved_to_the_middle() -> None:
    x, weight = spiky(1)
    x[:, [5, 40]] += 100
    change, error = Trial(x, weight, Int8().product).search(is_free=True)
    assert change is not None
    assert np.array_equal(change.shift, midrange(x))
    assert error**0.5 < 2 * relative_error(*spiky(1), Int8().product)


def test_a_product_without_rounding_is_not_equalized() -> None:
    trial = Trial(*spiky(50), np.matmul)
    assert trial.search(is_free=True) == (None, 0)
