"""Round the block matrices of a model by GPTQ, layer by layer, each for its inputs on a calibration text.

With enough calibration text, which a model of up to about 240 million parameters has, the inputs of a matrix are those of the quantized model, and the goal is
the output of the float32 model: errors of the layers before are compensated (GPTAQ, Li et al. 2025,
arXiv:2504.02692). With little text that would fit the text instead of the model; the inputs are then
those in the float32 model.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gpt2xl_export.reference.forward import Reference, apply_linear
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


@dataclass(frozen=True)
class CalibrationText:
    """A calibration text."""

    rows: Sequence[Sequence[int]]
    """Ids."""
    is_long: bool
    """Whether it is enough to compensate the errors of the layers before."""


@dataclass(frozen=True)
class RoundedLayer:
    """What rounding one layer has found."""

    weights: Mapping[str, Rounded]
    """By name, in the order of use; inputs are padded to a multiple of the block size."""
    kv_range: KVRange


def calibration_text(checkpoint: Checkpoint, page: list[int]) -> CalibrationText:
    """Text that the model writes itself, or ``page`` if it is too large for that."""
    length = written_length(checkpoint)
    if length:
        return CalibrationText(own_text(checkpoint, ROWS, length), is_long=True)
    return CalibrationText([page], is_long=False)


def round_layers(
    checkpoint: Checkpoint, names: Collection[str], block_size: int, text: CalibrationText
) -> Iterator[RoundedLayer]:
    """Round the matrices ``names``, up to the last layer that has one; memory holds one layer at a time.

    Args:
        checkpoint: the float32 model.
        names: of weights of linear layers, such as `h.0.attn.c_attn.weight`.
        block_size: inputs that share a scale.
        text: what the model is run on.
    """
    exact, rounding = _Recording(checkpoint), _Rounding(checkpoint, names, block_size)
    float_model = Reference(checkpoint, exact.linear)
    rounded_model = Reference(checkpoint, rounding.linear)
    states = exact_states = float_model.embed(text.rows)
    for layer in range(max((_layer(name) for name in names), default=-1) + 1):
        if text.is_long:
            exact_states = float_model.block(layer, exact_states)
            rounding.exact_inputs = exact.inputs
        states = rounded_model.block(layer, states)
        yield rounding.finish_layer()


def _layer(name: str) -> int:
    return int(name.split(".")[1])


class _Recording:
    """The linear layers of the float32 model; keeps their inputs."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._load = checkpoint.load
        self.inputs: dict[str, FloatArray] = {}
        """By name of the layer, until somebody takes them."""

    def linear(self, name: str, x: FloatArray) -> FloatArray:
        """Return x @ weight + bias."""
        self.inputs[name] = x
        return apply_linear(self._load, name, x)


class _Rounding:
    """The linear layers of the model that is being rounded."""

    def __init__(self, checkpoint: Checkpoint, names: Collection[str], block_size: int) -> None:
        self._config, self._load = checkpoint.config, checkpoint.load
        self._names, self._block_size = frozenset(names), block_size
        self._weights: dict[str, Rounded] = {}
        self._kv_range: KVRange | None = None
        self.exact_inputs: dict[str, FloatArray] = {}
        """By name, the inputs in the float32 model, to compensate for what the others lost."""

    def finish_layer(self) -> RoundedLayer:
        """What has been found since the last call."""
        assert self._kv_range is not None
        found = RoundedLayer(self._weights, self._kv_range)
        self._weights = {}
        return found

    def linear(self, name: str, x: FloatArray) -> FloatArray:
        """Round the weight for the inputs ``x``; return x @ weight + bias."""
        weight, bias = self._load(f"{name}.weight"), self._load(f"{name}.bias")
        exact_inputs = self.exact_inputs.pop(name, None)
        if f"{name}.weight" in self._names:
            rounded = self._round(weight, x, exact_inputs)
            self._weights[f"{name}.weight"] = rounded
            if exact_inputs is not None:
                weight = rounded.restored()[: len(weight)]
        result = x @ weight + bias
        if name.endswith(QKV):
            self._kv_range = kv_range(result, self._config)
        return result

    def _round(
        self, weight: FloatArray, inputs: FloatArray, exact_inputs: FloatArray | None
    ) -> Rounded:
        goal, window = weight, WINDOW
        if exact_inputs is not None:
            goal, window = compensated(weight, inputs, exact_inputs), WIDE_WINDOW
        if missing := -len(weight) % self._block_size:
            goal = np.pad(goal, ((0, missing), (0, 0)))
            inputs = np.pad(inputs, ((0, 0), (0, missing)))
        rounded = round_with_inputs(goal, inputs, BITS, self._block_size, window)
        return rounded.compared(weight)
