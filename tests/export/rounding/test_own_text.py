"""The calibration text that a model writes itself."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpt2xl.bundle.config import GPT2Config
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.rounding.calibration import SHORTEST, written_length
from gpt2xl_export.rounding.own_text import own_text
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint

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
def test_tokens_are_sampled_from_the_models_probabilities(
    make_checkpoint: MakeCheckpoint, config: dict[str, object]
) -> None:
    checkpoint = open_checkpoint(make_checkpoint(config))
    rows = own_text(checkpoint, 400, 3)
    first = [row for row in rows if row[:1] == rows[0][:1]]
    logits = Reference(checkpoint).logits([first[0][:1]])[0][0].astype(np.float64)
    expected = np.exp(logits - logits.max())
    expected /= expected.sum()
    found = np.bincount([row[1] for row in first], minlength=len(expected)) / len(first)
    top = np.argsort(expected)[-5:]
    assert np.abs(found - expected)[top].max() < 0.08


def test_a_model_always_writes_the_same_text(opened: Checkpoint) -> None:
    rows = own_text(opened, 4, 20)
    assert rows == own_text(opened, 4, 20)
    assert len({tuple(row) for row in rows}) == 4
    assert {len(row) for row in rows} == {20}
    assert {row[0] for row in rows} == {286}
    assert max(map(max, rows)) < opened.config.vocab_size


@pytest.mark.parametrize("end", [None, 400])
def test_without_an_end_of_text_token_a_text_begins_with_any_token(
    make_checkpoint: MakeCheckpoint, end: int | None
) -> None:
    path = make_checkpoint({"eos_token_id": end, "bos_token_id": None})
    rows = own_text(open_checkpoint(path), 8, 3)
    assert len({row[0] for row in rows}) > 1


def test_a_larger_model_writes_less() -> None:
    def length(width: int, layers: int) -> int:
        config = GPT2Config(
            vocab_size=50257, n_positions=1024, n_embd=width, n_layer=layers, n_head=1
        )
        return written_length(Checkpoint(Path(), config, lambda _: np.zeros(0, np.float32), (), ()))

    assert length(64, 2) > length(768, 12) >= SHORTEST
    assert length(1600, 48) == 0
