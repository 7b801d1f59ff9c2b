"""Compare exported graphs with the numpy reference; the figures go into the manifest."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from gpt2xl.errors import CheckpointError
from gpt2xl_export.check.difference import Tolerance, difference
from gpt2xl_export.check.layerwise import GraphRunner, PromptRun, run_by_layer
from gpt2xl_export.progress import Count, Steps
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray
from gpt2xl_export.source.tensors import expected_shapes

PAGE = Path(__file__).with_name("held_out.txt")
SENTENCES = (
    "Once upon a time there was a",
    "The quick brown fox jumps over the lazy dog. In 1969, 2 + 2 = 4!",
)
PAGE_STEPS = 12
"""Single tokens at the end of the page: with these the engine graph gives as many logits."""


@dataclass(frozen=True)
class Prompts:
    """What the graphs are compared on, ids; calibration does not see it."""

    short: Sequence[list[int]]
    """Fed whole, and token by token."""
    page: list[int]
    """Fed whole but for its end."""


def prompts(encode: Callable[[str], list[int]], vocab_size: int, n_positions: int) -> Prompts:
    """Two sentences, one token, nine random ids; and a page.

    Raises:
        CheckpointError: the tokenizer gives no ids, or one that the model does not have.
    """
    rng = np.random.default_rng(0)
    rows = [encode(sentence) for sentence in SENTENCES]
    if not all(rows):
        raise CheckpointError("the tokenizer gives no tokens for a plain English sentence.")
    largest = max(token_id for row in rows for token_id in row)
    if largest >= vocab_size:
        raise CheckpointError(
            f"the tokenizer gives id {largest}, but the model's vocab_size is {vocab_size}:"
            " they do not belong together."
        )
    rows += [rng.integers(0, vocab_size, size).tolist() for size in (1, 9)]
    page = [i for i in encode(PAGE.read_text("utf-8")) if i < vocab_size]
    return Prompts([row[:n_positions] for row in rows], page[:n_positions])


def check_parity(
    checkpoint: Checkpoint,
    models: Mapping[str, ir.Model],
    folder: Path,
    texts: Prompts,
    tolerance: Tolerance,
    progress: Count,
) -> dict[str, Any]:
    """Run the prompts through every graph, one layer at a time.

    Args:
        checkpoint: what the graphs were made from.
        models: "portable" and "engine", with their weights in ``folder``.
        folder: where the weights file is.
        texts: the prompts.
        tolerance: the largest differences that are allowed.
        progress: called with (bytes done, bytes in all): the size of the model in float32, in parts.

    Returns:
        The report for the manifest.

    Raises:
        ParityError: a graph differs by more.
    """
    config = checkpoint.config
    runners = {
        kind: partial(run_by_layer, model, kind, config, folder) for kind, model in models.items()
    }
    return compare(checkpoint, runners, texts, tolerance, progress)


def compare(
    checkpoint: Checkpoint,
    runners: Mapping[str, GraphRunner],
    texts: Prompts,
    tolerance: Tolerance,
    progress: Count,
) -> dict[str, Any]:
    """Do what `check_parity` does, for graphs that ``runners`` run."""
    runs = {kind: prompt_runs(texts) for kind in runners}
    started = [
        runner([run for mode in runs[kind].values() for run in mode])
        for kind, runner in runners.items()
    ]
    rows = [*texts.short, texts.page]
    work = _CheckWork(checkpoint, {kind: len(modes) for kind, modes in runs.items()}, progress)
    expected = _run_side_by_side(Reference(checkpoint), rows, started, work)
    report: dict[str, Any] = {"prompts": len(rows), "positions": sum(map(len, rows))}
    report["tolerance"] = asdict(tolerance)
    for kind, modes in runs.items():
        report[kind] = {}
        for mode, finished in modes.items():
            wanted = expected[-1:] if mode == "page" else expected[:-1]
            result = difference(*_paired(wanted, finished))
            work.compared(kind)
            result.check(tolerance, f"the {kind} graph, {mode}")
            report[kind][mode] = asdict(result)
    return report


def prompt_runs(texts: Prompts) -> dict[str, list[PromptRun]]:
    """A run of each short prompt "whole", in one step, and "stepwise", token by token; one of the "page"."""
    at_once = max(1, len(texts.page) - PAGE_STEPS)
    return {
        "whole": [PromptRun(np.array([row]), [len(row)]) for row in texts.short],
        "stepwise": [PromptRun(np.array([row]), [1] * len(row)) for row in texts.short],
        "page": [PromptRun(np.array([texts.page]), [at_once] + [1] * (len(texts.page) - at_once))],
    }


def _run_side_by_side(
    reference: Reference,
    rows: Sequence[list[int]],
    started: Sequence[Iterator[None]],
    work: "_CheckWork",
) -> list[FloatArray]:
    """Take reference and graphs through each layer together; return the reference's logits."""
    states = reference.embed(rows)
    work.ran(0)
    for part in range(reference.config.n_layer + 2):
        for run in started:
            next(run)
            work.ran(part)
        if part < reference.config.n_layer:
            states = reference.block(part, states)
            work.ran(part + 1)
    logits = reference.head(states)
    work.ran(reference.config.n_layer + 1)
    return logits


class _CheckWork:
    """Counts the parts of the model that reference and graphs have run, and the comparisons.

    Args:
        checkpoint: the model.
        modes: how many comparisons each graph has.
        report: called with (bytes done, bytes in all).
    """

    def __init__(self, checkpoint: Checkpoint, modes: Mapping[str, int], report: Count) -> None:
        layer, head, everything = _part_sizes(checkpoint)
        self._sizes = [head, *[layer] * checkpoint.config.n_layer, head]
        self._compared = {kind: head / count for kind, count in modes.items()}
        runs = (len(modes) + 1) * sum(self._sizes)
        self._steps = Steps(runs + len(modes) * head, everything, report)

    def ran(self, part: int) -> None:
        """Of the reference or of one graph: embeddings, blocks, head."""
        self._steps.add(self._sizes[part])

    def compared(self, kind: str) -> None:
        """One of the comparisons of a graph."""
        self._steps.add(self._compared[kind])


def _part_sizes(checkpoint: Checkpoint) -> tuple[int, int, int]:
    """Bytes in float32 of a block, of the head, of the model."""
    shapes = expected_shapes(checkpoint.config)
    sizes = {name: 4 * math.prod(shape) for name, shape in shapes.items()}
    layer = sum(size for name, size in sizes.items() if name.startswith("h.0."))
    return layer, sizes["wte.weight"], sum(sizes.values())


def _paired(expected: list[FloatArray], runs: list[PromptRun]) -> tuple[FloatArray, FloatArray]:
    """(expected, found) logits of the positions the graph returned: [positions, vocab_size]."""
    wanted, found = [], []
    for logits, run in zip(expected, runs, strict=True):
        for (_, end), state in zip(run.spans(), run.states, strict=True):
            step = state["logits"][0].astype(np.float32)
            wanted.append(logits[end - len(step) : end])
            found.append(step)
    return np.concatenate(wanted), np.concatenate(found)
