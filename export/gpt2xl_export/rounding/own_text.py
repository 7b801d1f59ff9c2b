"""Calibration text that the model samples itself: it resembles the text it was trained on."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from gpt2xl.bundle.config import GPT2Config
from gpt2xl_export.reference.forward import Past, Reference, softmax
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

SEED = 0


def own_text(
    checkpoint: Checkpoint,
    rows: int,
    length: int,
    report: Callable[[int, int], None] = lambda *_: None,
    *,
    seed: int = SEED,
) -> list[list[int]]:
    """Sample ``rows`` texts of ``length`` ids, the same ones for a seed; holds the whole model in memory.

    ``report`` is called with (positions sampled, ``length``).
    """
    config, rng = checkpoint.config, np.random.default_rng(seed)
    weights = {name: checkpoint.load(name) for name in checkpoint.tensor_names}
    reference = Reference(replace(checkpoint, load=weights.__getitem__))
    past = Past(config, rows, length)
    ids = np.empty((rows, length), np.int64)
    ids[:, 0] = _first_ids(config, rows, rng)
    # One BLAS thread: for products this small, more of them only wait for each other.
    with threadpool_limits(1, "blas"):
        for position in range(1, length):
            report(position, length)
            ids[:, position] = _sample(reference.step(ids[:, position - 1 : position], past), rng)
    report(length, length)
    return [row.tolist() for row in ids]


def _first_ids(config: GPT2Config, rows: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """End-of-text, which precedes every document; random ids where the model has none."""
    known = [token_id for token_id in sorted(config.eos_token_ids) if token_id < config.vocab_size]
    return np.full(rows, known[0]) if known else rng.integers(0, config.vocab_size, rows)


def _sample(logits: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw one id a row at temperature 1: [rows, vocab_size] -> [rows]."""
    sums = np.cumsum(softmax(logits), -1, dtype=np.float64)
    at = rng.random((len(logits), 1)) * sums[:, -1:]
    return np.asarray(np.minimum((sums <= at).sum(-1), logits.shape[1] - 1), np.int64)
