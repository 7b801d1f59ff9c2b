"""Run a model on calibration text, layer by layer: equalize the inputs of its matrices, and round them by GPTQ.

With enough calibration text, which a model of up to about 240 million parameters has, GPTQ takes the inputs of a
matrix from the quantized model, and the goal is the output of the float32 model: errors of the layers before are
compensated (GPTAQ, Li et al. 2025, arXiv:2504.02692). With little text that would fit the text instead of the
model; the inputs are then those in the float32 model.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from gpt2xl_export.reference.forward import Reference, apply_linear
from gpt2xl_export.rounding.calibration import KVRange, kv_range
from gpt2xl_export.rounding.equalization import (
    ATTENTION_IN,
    ATTENTION_OUT,
    COLUMNS,
    KEYS,
    LINEARS,
    MLP_OUT,
    POSITIONS,
    Change,
    Changes,
    Product,
    Trial,
    equalized,
    evenly_spaced,
    midrange,
)
from gpt2xl_export.rounding.gptq import (
    WIDE_WINDOW,
    WINDOW,
    Rounded,
    compensated,
    round_with_inputs,
)
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

BITS = 4
Part = Literal["run", "search", "round", "store"]
"""What happens to a matrix: the float32 model runs through it, its equalization is searched, GPTQ rounds it, it is
written."""
Step = Callable[[str, Part], None]
"""Called with the name of a weight after each part."""


@dataclass(frozen=True)
class Plan:
    """What happens to the matrices of a model."""

    products: Mapping[str, Product] = field(default_factory=dict)
    """By name of the weight: the product with the rounding of its format, for all that are quantized."""
    unchanged: Collection[str] = ()
    """The weights whose inputs are not equalized."""
    rounded: Mapping[str, int] = field(default_factory=dict)
    """The weights that GPTQ rounds, with the number of inputs that share a scale."""


@dataclass(frozen=True)
class CalibratedLayer:
    """What calibration has found for one layer."""

    load: Callable[[str], FloatArray]
    """Its tensors by name, equalized; only until the next layer is asked for."""
    changes: Changes
    """Of the inputs of its matrices, and of its keys."""
    weights: Mapping[str, Rounded]
    """By name, in the order of use; inputs are padded to a multiple of the block size."""
    kv_range: KVRange
    """As the KV cache gets them."""
    errors: Mapping[str, float]
    """By weight: the root mean square error of its product on the text, relative to the product."""
    states: Sequence[FloatArray]
    """What the layer gives in the float32 model, [n, n_embd] of each row."""


def calibrate(
    checkpoint: Checkpoint,
    plan: Plan,
    rows: Sequence[Sequence[int]],
    *,
    compensates: bool,
    step: Step = lambda *_: None,
) -> Iterator[CalibratedLayer]:
    """Equalize and round the matrices of ``plan``; memory holds one layer at a time.

    Args:
        checkpoint: the float32 model.
        plan: what to do.
        rows: ids that the model is run on.
        compensates: whether GPTQ makes up for the errors of the layers before.
        step: called after "run", "search" and "round" of a matrix.
    """
    layer_tensors = LastLayer(checkpoint.load)
    checkpoint = replace(checkpoint, load=layer_tensors.load)
    recording = _Recording(checkpoint.load, step)
    model = Reference(checkpoint, recording.linear)
    states = rounded_states = model.embed(rows)
    for layer in range(checkpoint.config.n_layer):
        layer_tensors.clear()
        recording.inputs.clear()
        states = model.block(layer, states)
        names = [f"h.{layer}.{linear}" for linear in LINEARS]
        changes, errors = _find_all(names, recording.inputs, checkpoint.load, plan, step)
        if changes:
            changes[f"h.{layer}.{KEYS}"] = _centred_keys(recording.qkv)
        even = equalized(checkpoint, changes)
        inputs = {name: _changed(recording.inputs[name], changes.get(name)) for name in names}
        rounding = _Rounding(even, plan, inputs, step)
        if compensates:
            rounding.hidden = changes.get(f"h.{layer}.{MLP_OUT}")
            rounded_states = Reference(even, rounding.linear).block(layer, rounded_states)
        else:
            rounding.round_all(names)
        _, keys, values = np.split(recording.qkv, 3, -1)
        keys = _changed(keys, changes.get(f"h.{layer}.{KEYS}"))
        values = _changed(values, changes.get(f"h.{layer}.{ATTENTION_OUT}"))
        ranges = kv_range(keys, values, checkpoint.config)
        yield CalibratedLayer(even.load, changes, rounding.weights, ranges, errors, states)


def head_error(
    checkpoint: Checkpoint, name: str, product: Product, states: Sequence[FloatArray]
) -> float:
    """The error of the head's product, as `CalibratedLayer.errors`.

    Args:
        checkpoint: the float32 model.
        name: of the head's weight, [vocab_size, n_embd].
        product: with the rounding of its format.
        states: of the last layer.
    """
    inputs = np.concatenate(Reference(checkpoint).head_inputs(states))
    rows = evenly_spaced(len(inputs), POSITIONS)
    weight = checkpoint.load(name)
    columns = weight[evenly_spaced(len(weight), COLUMNS)].T
    return float(Trial(inputs[rows], columns, product).plain_error ** 0.5)


def _find_all(
    names: Sequence[str],
    inputs: Mapping[str, FloatArray],
    load: Callable[[str], FloatArray],
    plan: Plan,
    step: Step,
) -> tuple[dict[str, Change], dict[str, float]]:
    """The changes of a layer, and the error of each of its products with them."""
    changes: dict[str, Change] = {}
    errors: dict[str, float] = {}
    for name in names:
        weight_name = f"{name}.weight"
        if (product := plan.products.get(weight_name)) is None:
            continue
        trial = Trial(inputs[name], load(weight_name), product)
        if weight_name in plan.unchanged:
            errors[weight_name] = trial.plain_error**0.5
        else:
            change, error = trial.search(is_free=not name.endswith(MLP_OUT))
            errors[weight_name] = error**0.5
            if change is not None:
                changes[name] = change
        step(weight_name, "search")
    return changes, errors


def _centred_keys(qkv: FloatArray) -> Change:
    centre = midrange(np.split(qkv, 3, -1)[1])
    return Change(centre, np.ones_like(centre))


def _changed(x: FloatArray, change: Change | None) -> FloatArray:
    return x if change is None else change.apply(x)


class LastLayer:
    """Tensors of the layer at hand, each read once."""

    def __init__(self, load: Callable[[str], FloatArray]) -> None:
        self._load, self._read = load, dict[str, FloatArray]()

    def load(self, name: str) -> FloatArray:
        """A tensor; those of layers are kept."""
        if not name.startswith("h."):
            return self._load(name)
        if name not in self._read:
            self._read[name] = self._load(name)
        return self._read[name]

    def clear(self) -> None:
        """Forget them: the next layer begins."""
        self._read.clear()


class _Recording:
    """The linear layers of the float32 model; keeps the last inputs of each, and queries, keys and values."""

    def __init__(self, load: Callable[[str], FloatArray], step: Step) -> None:
        self._load, self._step = load, step
        self.inputs: dict[str, FloatArray] = {}
        self.qkv = np.empty((0, 0), np.float32)

    def linear(self, name: str, x: FloatArray) -> FloatArray:
        """Return x @ weight + bias."""
        self.inputs[name] = x
        result = apply_linear(self._load, name, x)
        if name.endswith(ATTENTION_IN):
            self.qkv = result
        self._step(f"{name}.weight", "run")
        return result


class _Rounding:
    """The linear layers of a layer that is being rounded.

    Args:
        checkpoint: equalized.
        plan: what to round.
        exact_inputs: of each linear layer in the float32 model, equalized.
        step: called after each.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        plan: Plan,
        exact_inputs: Mapping[str, FloatArray],
        step: Step,
    ) -> None:
        self._load, self._plan, self._exact_inputs = checkpoint.load, plan, exact_inputs
        self._step = step
        self.hidden: Change | None = None
        self.weights: dict[str, Rounded] = {}

    def round_all(self, names: Sequence[str]) -> None:
        """Round for the inputs in the float32 model."""
        for name in names:
            if f"{name}.weight" in self._plan.rounded:
                weight = self._load(f"{name}.weight")
                inputs = self._exact_inputs[name]
                self.weights[f"{name}.weight"] = self._round(name, weight, weight, inputs, WINDOW)
                self._step(f"{name}.weight", "round")

    def linear(self, name: str, x: FloatArray) -> FloatArray:
        """Round the weight for the inputs ``x`` of the rounded model; return x @ rounded weight + bias."""
        if name.endswith(MLP_OUT):
            x = _changed(x, self.hidden)
        weight, bias = self._load(f"{name}.weight"), self._load(f"{name}.bias")
        if f"{name}.weight" in self._plan.rounded:
            goal = compensated(weight, x, self._exact_inputs[name])
            rounded = self._round(name, weight, goal, x, WIDE_WINDOW)
            self.weights[f"{name}.weight"] = rounded
            weight = rounded.restored()[: len(weight)]
            self._step(f"{name}.weight", "round")
        return x @ weight + bias

    def _round(
        self, name: str, weight: FloatArray, goal: FloatArray, inputs: FloatArray, window: int
    ) -> Rounded:
        block_size = self._plan.rounded[f"{name}.weight"]
        if missing := -len(weight) % block_size:
            goal = np.pad(goal, ((0, missing), (0, 0)))
            inputs = np.pad(inputs, ((0, 0), (0, missing)))
        rounded = round_with_inputs(goal, inputs, BITS, block_size, window)
        return rounded.compared(weight)
