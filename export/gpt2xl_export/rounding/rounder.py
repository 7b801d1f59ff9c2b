"""Round a model's matrices in the order they are used, each for the inputs it will get.

With enough text the inputs are those that the matrices rounded before it give, and the goal is the output
of the float32 model all the same: what was lost upstream is made up for (GPTAQ, Li et al. 2025,
arXiv:2504.02692). With little text that would fit the text, not the model: then the inputs are the
float32 model's.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.rounding.calibration import QKV, ROWS, KVRange, kv_range, written_length
from gpt2xl_export.rounding.gptq import (
    WIDE_WINDOW,
    WINDOW,
    Rounded,
    compensated,
    round_with_inputs,
)
from gpt2xl_export.rounding.own_text import own_text
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

BITS = 4


def rounder_for(
    checkpoint: Checkpoint, wants: Callable[[str], bool], block_size: int, page: list[int]
) -> "Rounder":
    """One that knows text of the model's own; ``page``, ids, for a model too large to write any."""
    length = written_length(checkpoint)

    def text() -> list[list[int]]:
        return own_text(checkpoint, ROWS, length) if length else [page]

    return Rounder(checkpoint, wants, block_size, text, compensate=length > 0)


class Rounder:
    """The rounded matrices of one checkpoint, asked for with layers in ascending order.

    One layer is held at a time.

    Args:
        checkpoint: where the weights are.
        wants: whether a weight, by its name, is to be rounded.
        block_size: inputs that share a scale.
        text: called at first need for calibration text, rows of ids.
        compensate: whether the text is enough to make up for what was lost upstream.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        wants: Callable[[str], bool],
        block_size: int,
        text: Callable[[], list[list[int]]],
        *,
        compensate: bool,
    ) -> None:
        self.kv_ranges: list[KVRange] = []
        """Of the layers rounded so far, on the calibration text."""
        self._config = checkpoint.config
        self._load, self._wants, self._block_size = checkpoint.load, wants, block_size
        self._text, self._compensate = text, compensate
        self._model = Reference(replace(checkpoint, load=self._round), self._watch)
        self._exact = Reference(checkpoint, self._watch_exact)
        self._states: list[FloatArray] = []
        self._exact_states: list[FloatArray] = []
        self._layer = -1
        self._inputs: dict[str, FloatArray] = {}
        self._exact_inputs: dict[str, FloatArray] = {}
        self._rounded: dict[str, Rounded] = {}

    def __call__(self, name: str) -> Rounded:
        """The weight ``name``, its inputs filled up to a multiple of the block size."""
        if self._layer < 0:
            self._states = self._exact_states = self._exact.embed(self._text())
        while self._layer < int(name.split(".")[1]):
            self._next_layer()
        return self._rounded.pop(name)

    def _next_layer(self) -> None:
        self._layer += 1
        self._rounded.clear()
        if self._compensate:
            self._exact_states = self._exact.block(self._layer, self._exact_states)
        self._states = self._model.block(self._layer, self._states)

    def _round(self, name: str) -> FloatArray:
        """A weight of the model that is being rounded."""
        weights, inputs = self._load(name), self._inputs.pop(name, None)
        if inputs is None or not self._wants(name):
            self._exact_inputs.pop(name, None)
            return weights
        goal, window = weights, WINDOW
        if self._compensate:
            goal = compensated(weights, inputs, self._exact_inputs.pop(name))
            window = WIDE_WINDOW
        missing = -len(weights) % self._block_size
        if missing:
            goal, inputs = (
                np.pad(goal, ((0, missing), (0, 0))),
                np.pad(inputs, ((0, 0), (0, missing))),
            )
        rounded = round_with_inputs(goal, inputs, BITS, self._block_size, window)
        self._rounded[name] = replace(rounded, error=rounded.compare(weights))
        return rounded.restored()[: len(weights)] if self._compensate else weights

    def _watch(self, name: str, values: FloatArray) -> None:
        if name.endswith(".weight"):
            self._inputs[name] = values
        elif name.endswith(QKV):
            self.kv_ranges.append(kv_range(values, self._config))

    def _watch_exact(self, name: str, values: FloatArray) -> None:
        if name.endswith(".weight"):
            self._exact_inputs[name] = values
