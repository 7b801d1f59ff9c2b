"""Padded rows, run by plain onnxruntime as other runtimes would: padding changes nothing."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

Logits = npt.NDArray[np.float32]
Run = Callable[..., Logits]
LENGTHS = [1, 4, 9, 12]
ROWS = [np.random.default_rng(n).integers(0, 287, n).tolist() for n in LENGTHS]
WIDTH = max(LENGTHS)
PADS = [0, 286]


def padded(side: str, pad: int) -> dict[str, npt.NDArray[np.int64]]:
    """ROWS padded to one length; positions of real tokens count from 0, those of padding are 1."""
    ids = np.full((len(ROWS), WIDTH), pad)
    mask = np.zeros_like(ids)
    for row, tokens in enumerate(ROWS):
        real = slice(WIDTH - len(tokens), WIDTH) if side == "left" else slice(len(tokens))
        ids[row, real], mask[row, real] = tokens, 1
    positions = np.where(mask, mask.cumsum(-1) - 1, 1)
    return {"input_ids": ids, "attention_mask": mask, "position_ids": positions}


def assert_same(got: Logits | list[Logits], wanted: Logits | list[Logits]) -> None:
    """Up to float32 rounding; the logits of this model reach about 5."""
    np.testing.assert_allclose(np.asarray(got), np.asarray(wanted), rtol=0, atol=2e-5)


@pytest.fixture(scope="module")
def alone(bundle: Path, run_graph: Run) -> list[Logits]:
    """[n, vocab_size] of each row without padding."""
    return [run_graph(bundle / "onnx" / "model.onnx", [row])[0] for row in ROWS]


@pytest.mark.parametrize("pad", PADS)
@pytest.mark.parametrize("side", ["left", "right"])
def test_the_portable_graph_gives_padded_rows_their_own_logits(
    bundle: Path, run_graph: Run, alone: list[Logits], side: str, pad: int
) -> None:
    inputs = padded(side, pad)
    ids = inputs.pop("input_ids").tolist()
    logits = run_graph(bundle / "onnx" / "model.onnx", ids, **inputs)
    assert np.isfinite(logits).all()
    for row, wanted in enumerate(alone):
        assert_same(logits[row][inputs["attention_mask"][row] == 1], wanted)


@pytest.mark.parametrize("pad", PADS)
def test_the_engine_graph_gives_right_padded_rows_the_logits_of_their_last_real_token(
    bundle: Path, run_graph: Run, alone: list[Logits], pad: int
) -> None:
    inputs = padded("right", pad)
    ids = inputs.pop("input_ids").tolist()
    logits = run_graph(bundle / "onnx" / "engine.onnx", ids, **inputs)
    assert logits.shape == (len(ROWS), 1, 289)
    assert_same(logits[:, 0], [wanted[-1] for wanted in alone])


def test_logits_of_a_row_of_padding_are_finite(bundle: Path, run_graph: Run) -> None:
    mask = np.array([[0, 0, 0], [1, 1, 1]])
    logits = run_graph(bundle / "onnx" / "model.onnx", [[0, 0, 0], [1, 2, 3]], attention_mask=mask)
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_rows_decode_as_if_alone(bundle: Path, run_graph: Run, side: str) -> None:
    """One more token a row over the padded cache of the portable graph."""
    path, inputs = bundle / "onnx" / "model.onnx", padded(side, 0)
    session = ort.InferenceSession(path)
    past = [value.name for value in session.get_inputs() if value.name.startswith("past")]
    present = [name.replace("past_key_values", "present") for name in past]
    feed = inputs | {name: np.zeros((len(ROWS), 2, 0, 16), np.float32) for name in past}
    cache = session.run(present, feed)
    lengths = np.array([[n] for n in LENGTHS])
    step = {
        "input_ids": np.full_like(lengths, 7),
        "attention_mask": np.hstack([inputs["attention_mask"], np.ones_like(lengths)]),
        "position_ids": lengths,
    }
    logits = session.run(["logits"], step | dict(zip(past, cache, strict=True)))[0]
    for row, tokens in enumerate(ROWS):
        assert_same(logits[row, 0], run_graph(path, [[*tokens, 7]])[0, -1])


def test_right_padded_rows_of_the_engine_overwrite_their_padding(
    bundle: Path, run_graph: Run
) -> None:
    """Each row's next token overwrites its first padding in the cache."""
    inputs = padded("right", 0)
    session = ort.InferenceSession(bundle / "onnx" / "engine.onnx")
    past = [value.name for value in session.get_inputs() if value.name.startswith("past")]
    cache = [ort.OrtValue.ortvalue_from_numpy(np.zeros((len(ROWS), 2, 20, 16), np.float32)) for _ in past]  # fmt: skip
    lengths = np.array([[n] for n in LENGTHS])
    # WIDTH + 1 columns: the sum of each row is the position where it writes.
    mask = (np.arange(WIDTH + 1) <= lengths).astype(np.int64)
    step = {"input_ids": np.full_like(lengths, 7), "attention_mask": mask, "position_ids": lengths}
    for feed in (inputs, step):
        binding = session.io_binding()
        for name, value in feed.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(value))
        for name, room in zip(past, cache, strict=True):
            binding.bind_ortvalue_input(name, room)
            binding.bind_ortvalue_output(name.replace("past_key_values", "present"), room)
        binding.bind_output("logits")
        session.run_with_iobinding(binding)
    logits = binding.get_outputs()[-1].numpy()
    for row, tokens in enumerate(ROWS):
        alone = run_graph(bundle / "onnx" / "model.onnx", [[*tokens, 7]])
        assert_same(logits[row, 0], alone[0, -1])
