"""GPTQ on single matrices."""

from pathlib import Path

import numpy as np
import pytest

from gpt2xl_export.formats.nbits import NBits
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.rounding.gptq import best_scales, compensated, inverse_factor, round_with_inputs
from gpt2xl_export.source.tensor_files import FloatArray

RNG = np.random.default_rng(0)


def correlated(positions: int, n_in: int) -> FloatArray:
    """Correlated inputs, as activations are."""
    mixing = RNG.normal(size=(n_in // 4, n_in))
    noise = 0.1 * RNG.normal(size=(positions, n_in))
    return (RNG.normal(size=(positions, n_in // 4)) @ mixing + noise).astype(np.float32)


def restored(weights: FloatArray, inputs: FloatArray, block_size: int) -> FloatArray:
    rounded = round_with_inputs(weights, inputs, 4, block_size)
    assert rounded.codes.min() >= -8
    assert rounded.codes.max() <= 7
    return np.asarray(rounded.codes * np.repeat(rounded.scales, block_size, axis=0), np.float32)


def nearest(weights: FloatArray, block_size: int) -> FloatArray:
    blocks = weights.reshape(-1, block_size, weights.shape[1])
    scales = np.stack([best_scales(block, 4) for block in blocks])[:, None]
    codes = np.clip(np.rint(blocks / scales), -8, 7)
    return np.asarray(codes * scales, np.float32).reshape(weights.shape)


@pytest.mark.parametrize(("n_in", "block_size"), [(64, 64), (192, 32), (1152, 64), (512, 16)])
def test_the_output_is_closer_than_with_the_nearest_codes(n_in: int, block_size: int) -> None:
    weights = RNG.normal(size=(n_in, 37)).astype(np.float32)
    inputs = correlated(300, n_in)
    kept = inputs @ weights

    def error(changed: FloatArray) -> float:
        return float(np.linalg.norm(inputs @ changed - kept) / np.linalg.norm(kept))

    assert error(restored(weights, inputs, block_size)) < 0.8 * error(nearest(weights, block_size))


def test_with_uncorrelated_inputs_the_codes_are_the_nearest() -> None:
    weights = RNG.normal(size=(64, 9)).astype(np.float32)
    inputs = np.eye(64, dtype=np.float32)
    assert np.allclose(restored(weights, inputs, 64), nearest(weights, 64), atol=1e-5)


def test_weights_that_are_zero_stay_zero() -> None:
    weights = np.zeros((64, 5), np.float32)
    weights[:, 1] = 1
    got = restored(weights, correlated(50, 64), 64)
    assert not got[:, [0, 2, 3, 4]].any()
    assert np.allclose(got[:, 1], 1, atol=0.1)


def test_inputs_may_all_be_zero() -> None:
    factor = inverse_factor(np.zeros((3, 8), np.float32))
    assert np.allclose(factor, np.eye(8))


def test_the_best_scale_is_better_than_the_covering_one() -> None:
    block = RNG.normal(size=(64, 200)).astype(np.float32)
    covering = np.take_along_axis(block, np.abs(block).argmax(0)[None], 0)[0] / -8

    def squares(scales: FloatArray) -> FloatArray:
        codes = np.clip(np.rint(block / scales), -8, 7)
        return np.asarray(((codes * scales - block) ** 2).sum(0))

    assert squares(best_scales(block, 4)).mean() < 0.95 * squares(covering).mean()


def test_the_error_in_the_manifest_is_that_of_the_stored_codes(tmp_path: Path) -> None:
    rows = RNG.normal(size=(12, 90)).astype(np.float32)  # 90 is not a multiple of the block size
    padded = np.pad(rows, ((0, 0), (0, 6))).T
    rounded = round_with_inputs(padded, correlated(40, 96), 4, 32).compared(rows.T)
    with WeightsFile(tmp_path / "weights") as weights:
        NBits(4, 32).store_rounded("w", rounded, weights)
        packed, scales = weights["w.q4"].numpy(), weights["w.scales"].numpy()
    codes = np.stack([packed & 15, packed >> 4], -1).reshape(12, 3, 32).astype(np.float32) - 8
    stored = (codes * scales[..., None]).reshape(12, 96)[:, :90]
    error = weights.errors["w"]
    assert error.method == "int4, blocks of 32, GPTQ"
    assert error.max_abs_error == pytest.approx(float(np.abs(stored - rows).max()), rel=1e-5)
    relative = float(np.linalg.norm(stored - rows) / np.linalg.norm(rows))
    assert error.relative_error == pytest.approx(relative, rel=1e-4)


def test_columns_are_rounded_independently(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, inputs = RNG.normal(size=(96, 50)).astype(np.float32), correlated(200, 96)
    whole = round_with_inputs(weights, inputs, 4, 32)
    monkeypatch.setattr("gpt2xl_export.rounding.gptq.TILE_WIDTH", 13)
    tiled = round_with_inputs(weights, inputs, 4, 32)
    assert (whole.codes == tiled.codes).mean() > 0.99  # BLAS may add in another order
    assert np.allclose(whole.scales, tiled.scales, atol=0.1 * np.abs(whole.scales).max())


def test_changed_inputs_are_compensated() -> None:
    exact = correlated(500, 64)
    inputs = exact + 0.3 * np.roll(exact, 1, axis=1)
    weights = RNG.normal(size=(64, 20)).astype(np.float32)

    def error(used: FloatArray) -> float:
        return float(np.linalg.norm(inputs @ used - exact @ weights))

    assert error(compensated(weights, inputs, exact)) < 0.5 * error(weights)


def test_unchanged_inputs_change_no_weight() -> None:
    weights, inputs = RNG.normal(size=(64, 20)).astype(np.float32), correlated(100, 64)
    assert np.array_equal(compensated(weights, inputs, inputs), weights)
