"""Compare the graphs of a bundle with each other: no checkpoint needed."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir

from gpt2xl.config import GPT2Config
from gpt2xl_export.parity import Tolerance, difference
from gpt2xl_export.pieces import Run, run_pieces
from gpt2xl_export.tensor_files import FloatArray


def check_agreement(
    models: Mapping[str, ir.Model],
    config: GPT2Config,
    folder: Path,
    rows: list[list[int]],
    tolerance: Tolerance,
) -> float:
    """Run ``rows`` whole and token by token, one layer at a time.

    Args:
        models: "portable", whose whole run is the measure, and others.
        config: of all of them.
        folder: where the weights file is.
        rows: prompts, ids.
        tolerance: over it, ParityError is raised.

    Returns:
        The largest relative logit difference.
    """
    logits = {kind: _run(model, kind, config, folder, rows) for kind, model in models.items()}
    expected = logits["portable"]["whole"]
    largest = 0.0
    for kind, modes in logits.items():
        for mode, got in modes.items():
            wanted = [e[-len(g) :] for e, g in zip(expected, got, strict=True)]
            result = difference(np.concatenate(wanted), np.concatenate(got))
            result.check(tolerance, f"the {kind} graph, {mode}, against the portable one")
            largest = max(largest, result.relative_logit_diff)
    return largest


def _run(
    model: ir.Model, kind: str, config: GPT2Config, folder: Path, rows: list[list[int]]
) -> dict[str, list[FloatArray]]:
    """By mode, the logits of each prompt, [positions, vocab_size]; of the engine the last ones."""
    runs = {
        "whole": [Run(np.array([row]), [len(row)]) for row in rows],
        "stepwise": [Run(np.array([row]), [1] * len(row)) for row in rows],
    }
    for _ in run_pieces(model, kind, config, folder, [*runs["whole"], *runs["stepwise"]]):
        pass
    return {mode: [_logits(run) for run in done] for mode, done in runs.items()}


def _logits(run: Run) -> FloatArray:
    return np.concatenate([state["logits"][0] for state in run.states]).astype(np.float32)
