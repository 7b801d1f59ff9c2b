"""Compare the graphs of a bundle with each other: no checkpoint needed."""

from collections.abc import Mapping

import numpy as np

from gpt2xl_export.check.difference import Tolerance, difference
from gpt2xl_export.check.layerwise import GraphRunner, PromptRun
from gpt2xl_export.check.parity import Prompts, prompt_runs
from gpt2xl_export.progress import Count, Steps
from gpt2xl_export.source.tensor_files import FloatArray


def check_agreement(
    runners: Mapping[str, GraphRunner],
    texts: Prompts,
    tolerance: Tolerance,
    report: Count = lambda *_: None,
    parts: int = 1,
) -> float:
    """Run ``texts``, and compare with the portable graph's whole runs.

    Args:
        runners: by graph; "portable" is one of them.
        texts: the prompts.
        tolerance: the largest differences that are allowed.
        report: called with (parts done, parts in all).
        parts: in which each graph runs.

    Returns:
        The largest relative logit difference.

    Raises:
        ParityError: a graph differs by more.
    """
    everything = len(runners) * (parts + len(prompt_runs(texts)))
    steps = Steps(everything, everything, report)
    logits = {kind: _run(runner, texts, steps) for kind, runner in runners.items()}
    portable = logits["portable"]
    largest = 0.0
    for kind, modes in logits.items():
        for mode, found in modes.items():
            # The engine graph only returns logits of the last positions.
            expected = portable["page" if mode == "page" else "whole"]
            wanted = [e[-len(f) :] for e, f in zip(expected, found, strict=True)]
            result = difference(np.concatenate(wanted), np.concatenate(found))
            steps.add(1)
            result.check(tolerance, f"the {kind} graph, {mode}, compared with the portable graph")
            largest = max(largest, result.relative_logit_diff)
    return largest


def _run(runner: GraphRunner, texts: Prompts, steps: Steps) -> dict[str, list[FloatArray]]:
    """By mode, the logits of each prompt, [positions, vocab_size]."""
    runs = prompt_runs(texts)
    for _ in runner([run for mode in runs.values() for run in mode]):
        steps.add(1)
    return {mode: [_logits(run) for run in finished] for mode, finished in runs.items()}


def _logits(run: PromptRun) -> FloatArray:
    return np.concatenate([state["logits"][0] for state in run.states]).astype(np.float32)
