"""Compare the graphs of a bundle with each other: no checkpoint needed."""

from collections.abc import Mapping

import numpy as np

from gpt2xl_export.check.layerwise import Run
from gpt2xl_export.check.parity import Tolerance, Walk, difference
from gpt2xl_export.source.tensor_files import FloatArray


def check_agreement(
    walks: Mapping[str, Walk], rows: list[list[int]], tolerance: Tolerance
) -> float:
    """Run ``rows`` whole and token by token.

    Args:
        walks: ways through "portable", whose whole run is the measure, and other graphs.
        rows: prompts, ids.
        tolerance: over it, ParityError is raised.

    Returns:
        The largest relative logit difference.
    """
    logits = {kind: _run(walk, rows) for kind, walk in walks.items()}
    expected = logits["portable"]["whole"]
    largest = 0.0
    for kind, modes in logits.items():
        for mode, got in modes.items():
            wanted = [e[-len(g) :] for e, g in zip(expected, got, strict=True)]
            result = difference(np.concatenate(wanted), np.concatenate(got))
            result.check(tolerance, f"the {kind} graph, {mode}, against the portable one")
            largest = max(largest, result.relative_logit_diff)
    return largest


def _run(walk: Walk, rows: list[list[int]]) -> dict[str, list[FloatArray]]:
    """By mode, the logits of each prompt, [positions, vocab_size]; of the engine the last ones."""
    runs = {
        "whole": [Run(np.array([row]), [len(row)]) for row in rows],
        "stepwise": [Run(np.array([row]), [1] * len(row)) for row in rows],
    }
    for _ in walk([*runs["whole"], *runs["stepwise"]]):
        pass
    return {mode: [_logits(run) for run in done] for mode, done in runs.items()}


def _logits(run: Run) -> FloatArray:
    return np.concatenate([state["logits"][0] for state in run.states]).astype(np.float32)
