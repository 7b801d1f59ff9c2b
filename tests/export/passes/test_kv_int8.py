"""The int8 KV cache: long and short steps give the same, and scales are folded into weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.engine import EngineSession
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.options import LoadOptions
from gpt2xl_export.exporting import export
from gpt2xl_export.formats.int8 import LOWEST_GELU
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.reference.activations import gelu_erf, gelu_tanh

IDS = np.random.default_rng(0).integers(0, 280, (1, 60))
Outcome = tuple[npt.NDArray[np.float32], list[npt.NDArray[np.generic]]]


def run(session: EngineSession, steps: tuple[int, ...], rows: int = 1) -> Outcome:
    """Logits of every position, and the cache."""
    cache, at, logits = session.new_cache(rows, capacity=64), 0, []
    for step in steps:
        ids = np.repeat(IDS[:, at : at + step], rows, 0)
        logits.append(session.forward(ids, cache, keep=step))
        at += step
    return np.concatenate(logits, 1), [values.copy() for values in cache.keys_and_values]


def engine(bundle: Path) -> onnx.GraphProto:
    """Its graph, without the weights."""
    (path,) = (bundle / "onnx").glob("engine*.onnx")
    return onnx.load(path, load_external_data=False).graph


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"scale_attn_by_inverse_layer_idx": True},
        {"scale_attn_weights": False},
        {"n_embd": 48, "n_head": 3},
        {"n_embd": 136, "n_head": 17},  # in two groups
    ],
    ids=str,
)
def test_long_steps_give_the_logits_of_short_ones(
    make_checkpoint: Callable[..., Path], tmp_path: Path, config: dict[str, object]
) -> None:
    export(make_checkpoint(config), tmp_path / "out", ExportOptions("fp32", kv="int8"))
    session = open_session(open_bundle(tmp_path / "out"), LoadOptions(provider="cpu"))
    assert isinstance(session, EngineSession)
    expected, expected_cache = run(session, (1,) * 60)
    for steps in ((60,), (20, 40), (9, 30, 12, 9), (30, 1, 20, 3, 6)):
        logits, cache = run(session, steps)
        difference, largest = np.abs(logits - expected), np.abs(expected).max()
        assert difference.mean() < 1e-4 * largest
        assert difference.max() < 3e-3 * largest  # a code of the cache that is one off shows here
        codes = zip(cache, expected_cache, strict=True)
        assert max(int(np.abs(a.astype(int) - b).max()) for a, b in codes) <= 1
    rows, _ = run(session, (60,), rows=3)
    assert np.array_equal(rows[2], run(session, (60,))[0][0])


@pytest.mark.parametrize("precision", ["int8", "int8-weight", "int4"])
def test_scales_of_queries_and_keys_are_folded_into_the_weights(
    checkpoint: Path, tmp_path: Path, precision: str
) -> None:
    export(checkpoint, tmp_path / "out", ExportOptions(precision))
    nodes = engine(tmp_path / "out").node
    assert not [node.name for node in nodes if node.name.endswith("qkv_codes")]
    names = {name for node in nodes for name in node.input if name.endswith("v_scale")}
    last = "h.1.attn.mixed.v_scale"  # there positions are chosen before the product
    assert names == {last} | ({"h.0.attn.mixed.v_scale"} if precision == "int8" else set())


def test_unscaled_initializers_are_removed(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / "out", ExportOptions("int4"))
    tensors = engine(tmp_path / "out").initializer
    kept = {tensor.name for tensor in tensors if ".attn.c_attn." in tensor.name}
    stored = {f"{part}.scaled" for part in ("weight.scales", "bias")} | {"weight.q4"}
    assert kept == {f"h.{layer}.attn.c_attn.{part}" for layer in (0, 1) for part in stored}


@pytest.mark.slow
# Random weights of this width lose more than int4 promises.
@pytest.mark.filterwarnings("ignore:int4 loses more:gpt2xl.errors.Gpt2xlWarning")
@pytest.mark.parametrize("block_size", [16, 32, 64])
def test_scales_of_the_cache_are_folded_into_scales_of_blocks(
    make_checkpoint: Callable[..., Path], tmp_path: Path, block_size: int
) -> None:
    config = {"n_embd": 136, "n_head": 17}  # blocks of other numbers of heads, the last not full
    logits = []
    for kv in ("float", "int8"):
        options = ExportOptions("int4", block_size, kv=kv, rounding="nearest")
        export(make_checkpoint(config), tmp_path / kv, options)
        session = open_session(open_bundle(tmp_path / kv), LoadOptions(provider="cpu"))
        assert isinstance(session, EngineSession)
        logits.append(run(session, (1,) * 60)[0])
    assert 0 < np.std(logits[0] - logits[1]) < 0.1 * np.std(logits[0])


def test_int8_has_no_operator_that_its_products_can_include(
    checkpoint: Path, tmp_path: Path
) -> None:
    export(checkpoint, tmp_path / "out", ExportOptions("int8"))
    nodes = engine(tmp_path / "out").node
    assert "Sum" not in {node.op_type for node in nodes}
    lowest = {node.name.split(".", 2)[2] for node in nodes if node.op_type == "ReduceMin"}
    assert lowest == {"attn.c_attn.lowest", "attn.c_proj.lowest", "mlp.c_fc.lowest"}


def test_the_assumed_minimum_of_gelu_is_right() -> None:
    x = np.linspace(-2, 0, 100_001, dtype=np.float32)
    lowest = min(float(gelu(x).min()) for gelu in (gelu_tanh, gelu_erf))
    assert LOWEST_GELU < lowest < LOWEST_GELU + 1e-3
