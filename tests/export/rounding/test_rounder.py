"""The text a model writes for its own rounding, and the order in which its matrices are rounded."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpt2xl.bundle.config import GPT2Config
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.rounding.calibration import ROWS, SHORTEST, kv_ranges, written_length
from gpt2xl_export.rounding.gptq import WINDOW, round_with_inputs
from gpt2xl_export.rounding.own_text import _Writer, own_text
from gpt2xl_export.rounding.rounder import Rounder
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

MakeCheckpoint = Callable[..., Path]


@pytest.fixture
def opened(checkpoint: Path) -> Checkpoint:
    return open_checkpoint(checkpoint)


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"tie_word_embeddings": False, "activation_function": "relu"},
        {"n_embd": 48, "n_inner": 72, "scale_attn_by_inverse_layer_idx": True},
    ],
    ids=str,
)
def test_the_writer_computes_what_the_reference_does(
    make_checkpoint: MakeCheckpoint, config: dict[str, object]
) -> None:
    checkpoint = open_checkpoint(make_checkpoint(config))
    model, rows = checkpoint.config, np.random.default_rng(0).integers(0, 280, (3, 7))
    writer = _Writer(model, checkpoint.load)
    cache = np.zeros((model.n_layer, 2, 3, model.n_head, 7, model.head_dim), np.float32)
    got = np.stack([writer.step(rows[:, i], i, cache) for i in range(7)], 1)
    np.testing.assert_allclose(got, Reference(checkpoint).logits(rows.tolist()), atol=1e-4)


def test_a_model_writes_the_same_text_again(opened: Checkpoint) -> None:
    rows = own_text(opened, 4, 20)
    assert rows == own_text(opened, 4, 20)
    assert len({tuple(row) for row in rows}) == 4
    assert {len(row) for row in rows} == {20}
    assert {row[0] for row in rows} == {286}
    assert max(map(max, rows)) < opened.config.vocab_size


@pytest.mark.parametrize("end", [None, 400])
def test_a_model_without_an_end_of_text_starts_anywhere(
    make_checkpoint: MakeCheckpoint, end: int | None
) -> None:
    path = make_checkpoint({"eos_token_id": end, "bos_token_id": None})
    rows = own_text(open_checkpoint(path), 8, 3)
    assert len({row[0] for row in rows}) > 1


def test_the_larger_the_model_the_less_it_writes() -> None:
    def length(width: int, layers: int) -> int:
        config = GPT2Config(
            vocab_size=50257, n_positions=1024, n_embd=width, n_layer=layers, n_head=1
        )
        return written_length(Checkpoint(Path(), config, lambda _: np.zeros(0, np.float32), (), ()))

    assert length(64, 2) > length(768, 12) >= SHORTEST
    assert length(1600, 48) == 0


def rounder(checkpoint: Checkpoint, text: list[list[int]], compensate: bool) -> Rounder:
    return Rounder(checkpoint, lambda name: ".c_" in name, 16, lambda: text, compensate=compensate)


def weights_of(checkpoint: Checkpoint, rounded: Rounder) -> dict[str, FloatArray]:
    names = [n for n in checkpoint.tensor_names if ".c_" in n and n.endswith("weight")]
    return {n: rounded(n).restored()[: len(checkpoint.load(n))] for n in names}


def test_with_little_text_a_matrix_is_rounded_for_the_float_model(opened: Checkpoint) -> None:
    seen: dict[str, FloatArray] = {}
    reference = Reference(opened, seen.__setitem__)
    reference.logits([[3, 5, 8, 13]])
    got = weights_of(opened, rounder(opened, [[3, 5, 8, 13]], compensate=False))
    for name, values in got.items():
        alone = round_with_inputs(opened.load(name), seen[name], 4, 16, WINDOW).restored()
        assert np.array_equal(values, alone)


def test_making_up_for_what_was_lost_upstream_brings_the_outputs_closer(
    opened: Checkpoint,
) -> None:
    text, other = own_text(opened, ROWS, 60), own_text(opened, 48, 60)[ROWS:]
    exact = Reference(opened).logits(other)

    def error(compensate: bool) -> float:
        changed = weights_of(opened, rounder(opened, text, compensate))
        load = lambda name: changed[name] if name in changed else opened.load(name)  # noqa: E731
        model = Checkpoint(opened.folder, opened.config, load, opened.tensor_names, ())
        return float(np.square(np.subtract(Reference(model).logits(other), exact)).mean())

    assert error(True) < 0.9 * error(False)


def test_rounding_finds_the_ranges_of_keys_and_values_on_its_way(opened: Checkpoint) -> None:
    text = np.random.default_rng(1).integers(0, 280, (1, 40)).tolist()
    rounded = rounder(opened, text, compensate=False)
    weights_of(opened, rounded)
    expected = kv_ranges(opened, text[0])
    assert len(rounded.kv_ranges) == opened.config.n_layer
    np.testing.assert_array_equal(np.array(rounded.kv_ranges), np.array(expected))
