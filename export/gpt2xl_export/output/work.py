"""How much work an export is, and how much of it is done."""

import math
from collections.abc import Mapping

from gpt2xl_export.options import ExportOptions
from gpt2xl_export.output.calibrating import make_plan
from gpt2xl_export.progress import Count, Steps
from gpt2xl_export.recipes import EMBEDDINGS, assign
from gpt2xl_export.rounding.calibration import PAGE_TOKENS, ROWS, written_length
from gpt2xl_export.rounding.equalization import ATTENTION_OUT
from gpt2xl_export.rounding.layers import Part, Plan
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray
from gpt2xl_export.source.tensors import expected_shapes, matrix_names

FLOAT_BYTES = 4
# Seconds of a CPU core, measured on models of 6 million and 1.6 billion parameters; only their ratios count.
HASH_COST, STORE_COST, ROUND_COST, CHECK_COST = 1.1e-9, 6e-9, 9e-9, 13e-9
"""For a byte: of the weight files; of a matrix in float32, twice; of the model in float32."""
SEARCH_COST = 2e-4
"""For an input of a matrix."""
MULTIPLY_COST, ATTENTION_COST, MOMENTS_COST = 6e-12, 7e-10, 6e-11
"""For a token: and a byte of a matrix; and a position of the context and a channel; and two inputs of a matrix."""
TOKENIZER_COST, LOADING_COST = 1.2, 2.0
"""For the tokenizer of any model; for the graphs of any model in the check."""
TEXT_COST = 1e-10
"""For a parameter and a token that the model writes itself."""


def float_sizes(checkpoint: Checkpoint) -> dict[str, int]:
    """Bytes of each tensor in float32."""
    shapes = expected_shapes(checkpoint.config)
    return {name: FLOAT_BYTES * math.prod(shape) for name, shape in shapes.items()}


def export_costs(
    checkpoint: Checkpoint, options: ExportOptions, *, has_text: bool
) -> dict[str, float]:
    """The stages of an export in their order, with about how many seconds of a CPU core each takes.

    Args:
        checkpoint: the source.
        options: resolved.
        has_text: whether the user gives the calibration text.
    """
    size = sum(float_sizes(checkpoint).values())
    names = matrix_names(checkpoint.config)
    assigned = assign(options.recipe, names, options.keep)
    plan = make_plan(checkpoint, options, assigned) if options.is_calibrated else None
    written = 0 if has_text or not plan or not plan.rounded else _written(checkpoint)
    return {
        "hash": HASH_COST * sum(path.stat().st_size for path in checkpoint.weight_files),
        "tokenizer": TOKENIZER_COST,
        "text": TEXT_COST * written * size / FLOAT_BYTES,
        "weights": sum(weight_costs(checkpoint, assigned, plan).values()),
        "check": CHECK_COST * size + LOADING_COST,
    }


def weight_costs(
    checkpoint: Checkpoint, assigned: Mapping[str, str], plan: Plan | None
) -> dict[tuple[str, Part], float]:
    """What the parts of the work on each tensor cost.

    Args:
        checkpoint: the source.
        assigned: the format of each matrix, by name.
        plan: what happens to the matrices; None where none are calibrated.
    """
    sizes, shapes = float_sizes(checkpoint), expected_shapes(checkpoint.config)
    costs: dict[tuple[str, Part], float] = {(n, "store"): STORE_COST * sizes[n] for n in sizes}
    if plan is None:
        return costs
    written = _written(checkpoint) if plan.rounded else 0
    tokens = max(PAGE_TOKENS, checkpoint.config.n_positions) + written
    for name in (name for name in assigned if name not in EMBEDDINGS):
        costs[name, "run"] = _run_cost(checkpoint, name, tokens)
    costs |= {(name, "search"): SEARCH_COST * shapes[name][0] for name in plan.products}
    for name in plan.rounded:
        costs[name, "round"] = ROUND_COST * sizes[name]
        if written:  # errors are compensated with the inputs in the rounded model
            moments = MOMENTS_COST * tokens * shapes[name][0] ** 2
            costs[name, "round"] += _run_cost(checkpoint, name, tokens) + moments
    return costs


def _run_cost(checkpoint: Checkpoint, name: str, tokens: int) -> float:
    """Of a product and what is computed before it."""
    config = checkpoint.config
    cost = MULTIPLY_COST * FLOAT_BYTES * math.prod(expected_shapes(config)[name]) * tokens
    if name.endswith(f"{ATTENTION_OUT}.weight"):
        cost += ATTENTION_COST * tokens * config.n_positions * config.n_embd
    return cost


def _written(checkpoint: Checkpoint) -> int:
    """Tokens of the text that a model would write itself."""
    return ROWS * written_length(checkpoint)


class WeightsWork:
    """Counts the parts of the work on all weights, each once.

    Args:
        checkpoint: the source.
        assigned: the format of each matrix, by name.
        plan: what happens to the matrices; None where none are calibrated.
        report: called with (bytes done, bytes in all) in float32.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        assigned: Mapping[str, str],
        plan: Plan | None,
        report: Count,
    ) -> None:
        self._load = checkpoint.load
        self._quantized = {name for name, form in assigned.items() if form != "fp32"}
        self._left = weight_costs(checkpoint, assigned, plan)
        self._steps = Steps(sum(self._left.values()), sum(float_sizes(checkpoint).values()), report)

    def step(self, name: str, part: Part) -> None:
        """Count a part; parts that are no work, or that were counted before, do nothing."""
        if work := self._left.pop((name, part), 0.0):
            self._steps.add(work)

    def load(self, name: str) -> FloatArray:
        """Read a tensor; one that no format stores is written next."""
        values = self._load(name)
        if name not in self._quantized:
            self.step(name, "store")
        return values
