"""How much work an export is, and how much of it is done."""

import math
from collections.abc import Mapping

from gpt2xl_export.options import ExportOptions
from gpt2xl_export.progress import Count, Steps
from gpt2xl_export.recipes import EMBEDDINGS
from gpt2xl_export.rounding.calibration import ROWS, written_length
from gpt2xl_export.rounding.layers import Part, Plan
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray
from gpt2xl_export.source.tensors import expected_shapes

FLOAT_BYTES = 4
# Seconds of a CPU core, measured on a model of 1.6 billion parameters; only their ratios count.
PART_COSTS: Mapping[Part, float] = {"run": 18e-9, "search": 18e-9, "round": 9e-9, "store": 6e-9}
"""For a byte of a matrix in float32."""
HASH_COST, CHECK_COST = 1.1e-9, 13e-9
"""For a byte of the weight files; for a byte of the model in float32."""
TOKENIZER_COST = 1.2
TEXT_COST = 4e-11
"""For the tokenizer of any model; for a parameter and a token that the model writes itself."""


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
    rounds = options.rounding == "gptq" and options.precision.startswith("int4")
    written = (
        0 if has_text or not rounds else ROWS * written_length(checkpoint) * size / FLOAT_BYTES
    )
    parts = PART_COSTS["store"]
    if options.is_calibrated:
        parts += PART_COSTS["run"] + PART_COSTS["search"] + rounds * PART_COSTS["round"]
    return {
        "hash": HASH_COST * sum(path.stat().st_size for path in checkpoint.weight_files),
        "tokenizer": TOKENIZER_COST,
        "text": TEXT_COST * written,
        "weights": parts * size,
        "check": CHECK_COST * size,
    }


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
        sizes = float_sizes(checkpoint)
        parts: list[tuple[str, Part]] = [(name, "store") for name in sizes]
        if plan is not None:
            parts += [(name, "run") for name in assigned if name not in EMBEDDINGS]
            parts += [(name, "search") for name in plan.products]
            parts += [(name, "round") for name in plan.rounded]
        self._left = {(name, part): sizes[name] * PART_COSTS[part] for name, part in parts}
        self._steps = Steps(sum(self._left.values()), sum(sizes.values()), report)

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
