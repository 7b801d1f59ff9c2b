"""What an export loses on a text of any length: one layer and a few positions of the head at a time."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl_export.check.layerwise import PromptRun, head_by_pieces, run_by_layer
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

PIECE = 128
"""Positions whose logits are in memory at a time."""


@dataclass(frozen=True)
class Loss:
    """How much less exact a graph is than its checkpoint, on a text."""

    kl: float
    """Mean over positions of KL(checkpoint || graph), in nats."""
    perplexity_loss: float
    """Increase of the perplexity, in percent."""
    standard_error: float
    """Of the increase, in percent: how far chance moves it on a text of this length."""
    top1_agreement: float
    """Share of positions with the same most probable token."""
    positions: int


def measure_loss(
    checkpoint: Checkpoint,
    model: ir.Model,
    folder: Path,
    rows: Sequence[Sequence[int]],
    step: Callable[[], None] = lambda: None,
) -> Loss:
    """Compare a portable graph with the checkpoint on a text.

    Args:
        checkpoint: what the graph was made from.
        model: the graph.
        folder: where its weights file is.
        rows: ids of the text, each row from position 0 on.
        step: called after the embeddings, each layer and the head: n_layer + 2 times.
    """
    config, reference = checkpoint.config, Reference(checkpoint)
    runs = [PromptRun(np.array([row]), [len(row)]) for row in rows]
    graph = run_by_layer(model, "portable", config, folder, runs)
    states = reference.embed(rows)
    next(graph)
    step()
    for layer in range(config.n_layer):
        states = reference.block(layer, states)
        next(graph)
        step()
    found = head_by_pieces(model, config, folder, runs, PIECE)
    pairs = zip(
        _reference_pieces(reference, checkpoint, states), found, _targets(rows), strict=True
    )
    parts = [_compared(wanted, got.astype(np.float32), ids) for wanted, got, ids in pairs]
    step()
    divergences, agreements, increases = (np.concatenate(part) for part in zip(*parts, strict=True))
    mean = float(increases.mean()) if len(increases) else 0.0
    spread = float(increases.std()) / math.sqrt(max(1, len(increases)))
    return Loss(
        kl=float(divergences.mean()),
        perplexity_loss=100 * math.expm1(mean),
        standard_error=100 * spread,
        top1_agreement=float(agreements.mean()),
        positions=len(divergences),
    )


def _reference_pieces(
    reference: Reference, checkpoint: Checkpoint, states: Sequence[FloatArray]
) -> Iterator[FloatArray]:
    """Logits in the pieces of `head_by_pieces`."""
    tied = checkpoint.config.tie_word_embeddings
    head = checkpoint.load("wte.weight" if tied else "lm_head.weight").T
    for x in reference.head_inputs(states):
        for start in range(0, len(x), PIECE):
            yield x[start : start + PIECE] @ head


def _targets(rows: Sequence[Sequence[int]]) -> Iterator[Sequence[int]]:
    """The ids that follow the positions of each piece; one fewer at the end of a row."""
    for row in rows:
        for start in range(0, len(row), PIECE):
            yield row[start + 1 : start + PIECE + 1]


def _compared(
    expected: FloatArray, found: FloatArray, targets: Sequence[int]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Of each position: the divergence, whether the best token is the same; of each target how much less probable it is."""
    p, q = log_softmax(expected), log_softmax(found)
    at = np.arange(len(targets)), np.asarray(targets, np.int64)
    same: npt.NDArray[np.bool_] = expected.argmax(-1) == found.argmax(-1)
    divergences: npt.NDArray[np.float64] = (np.exp(p) * (p - q)).sum(-1)
    return divergences, same, p[at] - q[at]
