"""Compare exported graphs with the numpy reference; the figures go into the manifest."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from gpt2xl.errors import CheckpointError, ParityError
from gpt2xl_export.check.layerwise import Run, run_pieces
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

Walk = Callable[[Sequence[Run]], Iterator[None]]
SENTENCES = (
    "Once upon a time there was a",
    "The quick brown fox jumps over the lazy dog. In 1969, 2 + 2 = 4!",
)


@dataclass(frozen=True)
class Tolerance:
    """What an export may differ from its checkpoint by; a field that is None is not checked."""

    relative_logit_diff: float | None = None
    """Largest difference of a logit, over the largest absolute logit (at least 1)."""
    mean_kl: float | None = None
    """Mean over positions of KL(checkpoint || export), nats."""


@dataclass(frozen=True)
class Difference:
    """How far one graph is from the checkpoint."""

    max_abs_logit_diff: float
    relative_logit_diff: float
    mean_kl: float
    top1_agreement: float

    def check(self, tolerance: Tolerance, what: str) -> None:
        """Raise ParityError, naming ``what`` and the figure, when over ``tolerance``."""
        for name, limit in asdict(tolerance).items():
            value = getattr(self, name)
            if limit is not None and not value <= limit:  # NaN fails, too
                why = "" if isfinite(value) else "; the weights overflow or are no numbers"
                raise ParityError(
                    f"{what}: {name} is {value:.3g}, the tolerance is {limit:.3g}{why}."
                )


def prompts(
    encode: Callable[[str], list[int]], vocab_size: int, n_positions: int
) -> list[list[int]]:
    """Token ids to check with: two sentences, one single token, one row of random ids.

    Raises:
        CheckpointError: the tokenizer gives an id that the model does not have, or none at all.
    """
    rng = np.random.default_rng(0)
    rows = [encode(sentence) for sentence in SENTENCES]
    if not all(rows):
        raise CheckpointError(
            "the tokenizer leaves nothing of a plain sentence: it gives no tokens."
        )
    largest = max(token_id for row in rows for token_id in row)
    if largest >= vocab_size:
        raise CheckpointError(
            f"the tokenizer gives id {largest}, but the model's vocabulary is {vocab_size}:"
            " they do not belong together."
        )
    rows += [rng.integers(0, vocab_size, size).tolist() for size in (1, 9)]
    return [row[:n_positions] for row in rows]


def check_parity(
    checkpoint: Checkpoint,
    models: Mapping[str, ir.Model],
    folder: Path,
    rows: Sequence[list[int]],
    tolerance: Tolerance,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """Run every prompt whole and token by token through every graph, one layer at a time.

    Args:
        checkpoint: what the graphs were made from.
        models: "portable" and "engine", their weights in ``folder``.
        folder: where the weights file is.
        rows: prompts, ids.
        tolerance: over it, ParityError is raised.
        progress: told (parts of the model done, parts in all).

    Returns:
        The report for the manifest.
    """
    config = checkpoint.config
    walks = {
        kind: partial(run_pieces, model, kind, config, folder) for kind, model in models.items()
    }
    return compare(checkpoint, walks, rows, tolerance, progress)


def compare(
    checkpoint: Checkpoint,
    walks: Mapping[str, Walk],
    rows: Sequence[list[int]],
    tolerance: Tolerance,
    progress: Callable[[int, int], None],
) -> dict[str, Any]:
    """As ``check_parity``; ``walks`` take prompts through a graph, pausing n_layer + 2 times."""
    runs = {
        (kind, mode): [Run(np.array([row]), _steps(row, mode)) for row in rows]
        for kind in walks
        for mode in ("whole", "stepwise")
    }
    started = [
        walk([*runs[kind, "whole"], *runs[kind, "stepwise"]]) for kind, walk in walks.items()
    ]
    expected = _walk(Reference(checkpoint), rows, started, progress)
    report: dict[str, Any] = {"prompts": len(rows), "positions": sum(map(len, rows))}
    report["tolerance"] = asdict(tolerance)
    for (kind, mode), done in runs.items():
        result = difference(*_paired(expected, done))
        result.check(tolerance, f"the {kind} graph, {mode}")
        report.setdefault(kind, {})[mode] = asdict(result)
    return report


def _steps(row: list[int], mode: str) -> list[int]:
    return [len(row)] if mode == "whole" else [1] * len(row)


def _walk(
    reference: Reference,
    rows: Sequence[list[int]],
    walks: Sequence[Iterator[None]],
    progress: Callable[[int, int], None],
) -> list[FloatArray]:
    """Take reference and graphs through the layers side by side; the reference's logits."""
    states = reference.embed(list(rows))
    parts = reference.config.n_layer + 2
    for done in range(parts):
        for walk in walks:
            next(walk)
        progress(done + 1, parts)
        if done < reference.config.n_layer:
            states = reference.block(done, states)
    return reference.head(states)


def _paired(expected: list[FloatArray], runs: list[Run]) -> tuple[FloatArray, FloatArray]:
    """(expected, got), [positions, vocab_size], where the graph gave logits at all."""
    wanted, got = [], []
    for logits, run in zip(expected, runs, strict=True):
        for (_, end), state in zip(run.spans(), run.states, strict=True):
            step = state["logits"][0].astype(np.float32)
            wanted.append(logits[end - len(step) : end])
            got.append(step)
    return np.concatenate(wanted), np.concatenate(got)


def difference(expected: FloatArray, got: FloatArray) -> Difference:
    """Compare logits, both [positions, vocab_size]."""
    largest = float(np.abs(expected - got).max())
    p, q = _log_softmax(expected), _log_softmax(got)
    return Difference(
        max_abs_logit_diff=largest,
        relative_logit_diff=largest / max(1.0, float(np.abs(expected).max())),
        mean_kl=float((np.exp(p) * (p - q)).sum(-1).mean()),
        top1_agreement=float((expected.argmax(-1) == got.argmax(-1)).mean()),
    )


def _log_softmax(x: FloatArray) -> FloatArray:
    x = x.astype(np.float64) - x.max(-1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)))
