"""Estimate what each matrix costs in each format: the KL divergence that it causes alone.

Two factors, both of the float32 model on calibration text:

- The relative error of the matrix's product in the format (`rounding.equalization.Trial`), for every matrix and format.
- The divergence of the logits for each unit of that error: the model is run with this one matrix in 4 bits. To the second
  order the divergence grows with the square of the error, so one run stands for all formats.

The runs of all matrices go through the layers side by side, so each weight is read once and memory holds one layer. In
a model of more than LAYERS layers the second factor is measured in so many of them, and interpolated between.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl_export.formats.protocol import Format
from gpt2xl_export.progress import Count, Steps
from gpt2xl_export.recipes import EMBEDDINGS, head_format
from gpt2xl_export.reference.forward import Reference, apply_linear
from gpt2xl_export.rounding.equalization import (
    COLUMNS,
    LINEARS,
    MLP_OUT,
    POSITIONS,
    Change,
    Product,
    Trial,
    evenly_spaced,
)
from gpt2xl_export.rounding.layers import LastLayer
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray
from gpt2xl_export.source.tensors import expected_shapes, matrix_names

LAYERS = 12
"""Layers whose matrices are rounded one by one."""
TRIED, TRIED_HEAD = "int4-64", "int4-32"
"""The formats in which one matrix is rounded to see what follows."""
VOCABULARY = 4096
"""Tokens of the vocabulary whose logits a rounded head computes at a time."""
SMALLEST = 1e-12
WORK = 1e13
"""Most products of the runs together, on which the length of the text depends."""
FEWEST, MOST, PIECES = 256, 1024, 4
"""Tokens of the text, and the rows it is taken from."""
SECONDS = 2.4e-11
"""Of a CPU core, for each product."""
SEARCH_SECONDS = 4e-4
"""For each input of a matrix."""
Losses = Mapping[str, Mapping[str, float]]
"""By weight and format: nats."""


@dataclass
class _Variant:
    """The model with one matrix rounded, on its way through the layers."""

    name: str
    states: list[FloatArray]


def estimate_losses(
    checkpoint: Checkpoint,
    rows: Sequence[Sequence[int]],
    forms: Mapping[str, Format | None],
    choices: Sequence[str],
    report: Count = lambda *_: None,
) -> Losses:
    """The divergence that each matrix causes alone, by format.

    Args:
        checkpoint: the float32 model.
        rows: ids of the text.
        forms: every format by name, as `gpt2xl_export.recipes.formats` gives them.
        choices: the names of those that are compared, as a keep rule has them.
        report: called with (done, total), in any unit.
    """
    return _Estimate(checkpoint, rows, forms, choices, report).run()


def sample(checkpoint: Checkpoint, rows: Sequence[Sequence[int]]) -> list[list[int]]:
    """Some of a calibration text, from its beginning and from evenly spaced rows."""
    tokens = _tokens(checkpoint)
    taken = [rows[at] for at in evenly_spaced(len(rows), PIECES)]
    return [list(row[: max(1, tokens // len(taken))]) for row in taken]


def estimate_cost(checkpoint: Checkpoint) -> float:
    """About how many seconds of a CPU core `estimate_losses` takes."""
    config = checkpoint.config
    inputs = sum(
        shape[0] for name, shape in expected_shapes(config).items() if name in matrix_names(config)
    )
    return SECONDS * _runs(checkpoint) * _tokens(checkpoint) + SEARCH_SECONDS * inputs


def _tokens(checkpoint: Checkpoint) -> int:
    return int(min(float(MOST), max(float(FEWEST), WORK / _runs(checkpoint))))


def _runs(checkpoint: Checkpoint) -> float:
    """Products for each token in the runs of all variants: they begin at their own layer."""
    parameters = sum(map(math.prod, expected_shapes(checkpoint.config).values()))
    variants = len(LINEARS) * min(LAYERS, checkpoint.config.n_layer)
    return float(parameters * (1 + variants / 2))


class _Estimate:
    def __init__(
        self,
        checkpoint: Checkpoint,
        rows: Sequence[Sequence[int]],
        forms: Mapping[str, Format | None],
        choices: Sequence[str],
        report: Count,
    ) -> None:
        self._tensors = LastLayer(checkpoint.load)
        self._checkpoint = replace(checkpoint, load=self._tensors.load)
        self._config, self._rows = checkpoint.config, rows
        self._forms, self._choices = forms, choices
        self._plain = Reference(self._checkpoint)
        self._measured: list[int] = evenly_spaced(self._config.n_layer, LAYERS).tolist()
        self._variants: list[_Variant] = []
        self._errors: dict[str, dict[str, float]] = {}
        self._steps = Steps(self._work(), 100, report)

    def run(self) -> Losses:
        """Take the text through the model, and the variants with it."""
        states = self._plain.embed(self._rows)
        if self._forms[head_format(TRIED_HEAD)] is not None:
            self._variants.append(_Variant("wte.weight", self._rounded_embedding()))
        for layer in range(self._config.n_layer):
            states = self._layer(layer, states)
        divergences = self._divergences(states)
        return {
            name: {form: factor * error for form, error in self._errors[name].items()}
            for name, factor in self._factors(divergences).items()
        }

    def _layer(self, layer: int, states: list[FloatArray]) -> list[FloatArray]:
        """Take everything through a layer; its own variants begin here."""
        self._tensors.clear()
        for variant in self._variants:
            variant.states = self._plain.block(layer, variant.states)
            self._steps.add(1)
        inputs: dict[str, FloatArray] = {}

        def recorded(name: str, x: FloatArray) -> FloatArray:
            inputs[name] = x
            return apply_linear(self._checkpoint.load, name, x)

        after = Reference(self._checkpoint, recorded).block(layer, states)
        for linear in LINEARS:
            name = f"h.{layer}.{linear}"
            self._errors[f"{name}.weight"] = self._format_errors(name, inputs[name])
            if layer in self._measured:
                changed = Reference(self._checkpoint, self._rounding(name)).block(layer, states)
                self._variants.append(_Variant(f"{name}.weight", changed))
            self._steps.add(1)
        return after

    def _format_errors(self, name: str, x: FloatArray) -> dict[str, float]:
        """The squared error of a matrix's product in each format, relative to its variance."""
        weight = self._checkpoint.load(f"{name}.weight")
        change: Change | None = None
        if int8 := self._forms[
            "int8"
        ]:  # with its one scale a token, it gains most from equalization
            change, _ = Trial(x, weight, int8.product).search(is_free=not name.endswith(MLP_OUT))
        errors = {}
        for choice in self._choices:
            if form := self._forms[choice]:
                trial = Trial(x, weight, form.product)
                errors[choice] = min(
                    trial.plain_error, *([trial.error(change)] if change else [np.inf])
                )
            else:
                errors[choice] = 0.0
        return errors

    def _rounding(self, rounded: str) -> Callable[[str, FloatArray], FloatArray]:
        """The linear layers of a block, one of them in 4 bits."""
        form = self._forms[TRIED]
        assert form is not None
        load = self._checkpoint.load

        def linear(name: str, x: FloatArray) -> FloatArray:
            if name != rounded:
                return apply_linear(load, name, x)
            return form.product(x, load(f"{name}.weight")) + load(f"{name}.bias")

        return linear

    def _rounded_embedding(self) -> list[FloatArray]:
        """The embeddings of the text with wte in 4 bits."""
        tokens, positions = (self._checkpoint.load(name) for name in ("wte.weight", "wpe.weight"))
        product = self._head_product(TRIED_HEAD)
        rows = [tokens[list(ids)] for ids in self._rows]
        unit = np.eye(tokens.shape[1], dtype=np.float32)  # its product is the rounded matrix
        return [product(unit, x.T).T + positions[: len(x)] for x in rows]

    def _head_product(self, choice: str) -> Product:
        form = self._forms[head_format(choice)]
        assert form is not None
        return form.product

    def _divergences(self, states: Sequence[FloatArray]) -> dict[str, float]:
        """Of each variant's logits from those of the float32 model, and of a rounded head's."""
        tied = self._config.tie_word_embeddings
        name = "wte.weight" if tied else "lm_head.weight"
        head = self._checkpoint.load(name)
        inputs = np.concatenate(self._plain.head_inputs(states))
        expected = log_softmax(inputs @ head.T)
        self._errors |= {
            n: self._head_errors(inputs, head) for n in EMBEDDINGS if n in (name, "wte.weight")
        }
        found = {}
        for variant in self._variants:
            x = np.concatenate(self._plain.head_inputs(variant.states))
            both = tied and variant.name == name
            logits = self._rounded_logits(x, head) if both else x @ head.T
            found[variant.name] = _divergence(expected, logits)
            self._steps.add(1)
        if not tied:
            found[name] = _divergence(expected, self._rounded_logits(inputs, head))
        return found

    def _rounded_logits(self, x: FloatArray, head: FloatArray) -> FloatArray:
        product = self._head_product(TRIED_HEAD)
        starts = range(0, len(head), VOCABULARY)
        parts = [product(x, head[start : start + VOCABULARY].T) for start in starts]
        return np.concatenate(parts, -1)

    def _head_errors(self, inputs: FloatArray, head: FloatArray) -> dict[str, float]:
        rows = inputs[evenly_spaced(len(inputs), POSITIONS)]
        columns = head[evenly_spaced(len(head), COLUMNS)].T
        return {
            choice: Trial(rows, columns, form.product).plain_error
            if (form := self._forms[head_format(choice)])
            else 0.0
            for choice in self._choices
        }

    def _factors(self, divergences: Mapping[str, float]) -> dict[str, float]:
        """The divergence for each unit of error, by weight."""
        factors = {
            name: divergence / max(SMALLEST, self._errors[name][_tried(name)])
            for name, divergence in divergences.items()
        }
        for linear in LINEARS:
            names = [f"h.{layer}.{linear}.weight" for layer in range(self._config.n_layer)]
            known = np.log([max(SMALLEST, factors[names[layer]]) for layer in self._measured])
            between = np.exp(np.interp(range(len(names)), self._measured, known))
            factors |= dict(zip(names, between.tolist(), strict=True))
        return factors

    def _work(self) -> int:
        """Blocks that variants run, matrices, and heads."""
        layers = self._config.n_layer
        blocks = sum(len(LINEARS) * (layers - 1 - layer) for layer in self._measured) + layers
        return blocks + len(LINEARS) * layers + len(LINEARS) * len(self._measured) + 1


def _tried(name: str) -> str:
    return TRIED_HEAD if name in EMBEDDINGS else TRIED


def _divergence(expected: npt.NDArray[np.float64], logits: FloatArray) -> float:
    """Mean over positions of the KL divergence; ``expected`` are logarithms of probabilities."""
    found = log_softmax(logits)
    return float((np.exp(expected) * (expected - found)).sum(-1).mean())
