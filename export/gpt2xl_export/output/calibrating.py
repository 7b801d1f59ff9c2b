"""Calibrate the matrices of an export: which text, what is equalized, what GPTQ rounds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt2xl.bundle.config import GPT2Config
from gpt2xl_export.formats.nbits import NBits
from gpt2xl_export.graph.weights import WeightsFile
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.recipes import EMBEDDINGS, formats
from gpt2xl_export.rounding.calibration import (
    ROWS,
    SHORTEST,
    CalibrationText,
    KVRange,
    given_text,
    page,
    written_length,
)
from gpt2xl_export.rounding.equalization import KEYS, MLP_OUT, Change
from gpt2xl_export.rounding.layers import Plan, Step, calibrate, head_error
from gpt2xl_export.rounding.own_text import own_text
from gpt2xl_export.source.checkpoint import Checkpoint

Encode = Callable[[str], list[int]]
INT4_BITS = 4
ENOUGH = ROWS * SHORTEST
"""Tokens with which errors of the layers before can be compensated; with less, that fits the text."""


@dataclass
class Calibration:
    """What calibration has found for all layers."""

    text: CalibrationText | None = None
    """None where nothing had to be calibrated."""
    changes: dict[str, Change] = field(default_factory=dict)
    """By linear layer; see `gpt2xl_export.rounding.equalization`."""
    ranges: list[KVRange] = field(default_factory=list)
    """Of each layer."""
    errors: dict[str, float] = field(default_factory=dict)
    """By weight, the head's included: the error of its product on the text, relative to the product."""

    def described(self) -> dict[str, Any]:
        """What the manifest says of it."""
        if self.text is None:
            return {}
        return {
            "calibration": {
                "text": self.text.origin,
                "tokens": self.text.tokens,
                "equalized": [name for name in self.changes if not name.endswith((MLP_OUT, KEYS))],
                "divided": [name for name in self.changes if name.endswith(MLP_OUT)],
                "errors": {name: float(f"{error:.4g}") for name, error in self.errors.items()},
            }
        }


def calibrate_export(
    checkpoint: Checkpoint,
    plan: Plan,
    options: ExportOptions,
    assigned: Mapping[str, str],
    choose_text: Callable[[bool], CalibrationText],
    weights: WeightsFile,
    step: Step,
) -> Calibration:
    """Run the model on calibration text, and write the quantized matrices of its layers.

    Args:
        checkpoint: the source.
        plan: of `make_plan`.
        options: resolved.
        assigned: the format of each weight, by name.
        choose_text: whether GPTQ needs it -> the text.
        weights: where to.
        step: called after each part of the work on a matrix.
    """
    if not plan.products and options.kv == "float":
        return Calibration()
    forms = formats(options.block_size, float16=options.recipe.float16)
    found = Calibration(choose_text(bool(plan.rounded)))
    assert found.text is not None
    small = written_length(checkpoint) > 0
    compensates = bool(plan.rounded) and small and found.text.tokens >= ENOUGH
    layers = calibrate(checkpoint, plan, found.text.rows, compensates=compensates, step=step)
    for number, layer in enumerate(layers):
        found.changes.update(layer.changes)
        found.errors.update(layer.errors)
        found.ranges.append(layer.kv_range)
        for name, rounded in layer.weights.items():
            form = forms[assigned[name]]
            assert isinstance(form, NBits)
            form.store_rounded(name, rounded, weights)
            step(name, "store")
        for name in assigned:
            form = forms[assigned[name]]
            if form and name.startswith(f"h.{number}.") and name not in layer.weights:
                form.store(name, layer.load(name).T, weights)
                step(name, "store")
        states = layer.states
    head = "wte.weight" if checkpoint.config.tie_word_embeddings else "lm_head.weight"
    if form := forms[assigned[head]]:
        found.errors[head] = head_error(checkpoint, head, form.product, states)
    return found


def make_plan(checkpoint: Checkpoint, options: ExportOptions, assigned: Mapping[str, str]) -> Plan:
    """Which matrices are equalized, and which ones GPTQ rounds.

    A model that was trained for rounding to nearest is rounded as it is.
    """
    forms = formats(options.block_size, float16=options.recipe.float16)
    blocks = {name: form for name, form in assigned.items() if name not in EMBEDDINGS}
    products = {n: form.product for n, name in blocks.items() if (form := forms[name])}
    int4 = {
        name: form.block_size
        for name, form_name in blocks.items()
        if isinstance(form := forms[form_name], NBits) and form.bits == INT4_BITS
    }
    if options.rounding == "gptq":
        return Plan(products, rounded=int4)
    as_trained = [n for n, size in int4.items() if checkpoint.is_trained_for_int4(size)]
    return Plan(products, unchanged=as_trained)


def text_chooser(
    checkpoint: Checkpoint,
    encode: Encode,
    given: Path | None,
    report: Callable[[int, int], None] = lambda *_: None,
) -> Callable[[bool], CalibrationText]:
    """Whether GPTQ needs it -> the user's text or what a small model writes itself, and our page.

    ``report`` is called while it writes, with (positions done, positions in all).
    """
    config: GPT2Config = checkpoint.config

    def choose(for_gptq: bool) -> CalibrationText:
        ours, length = page(encode, config), written_length(checkpoint)
        if given is not None:
            text = given_text(given, encode, config)
        elif for_gptq and length:
            written = own_text(checkpoint, ROWS, length, report)
            text = CalibrationText(written, "the model's own text")
        else:
            return ours
        # The page has all positions of the context, which the KV cache's scales need.
        return CalibrationText([*text.rows, *ours.rows], f"{text.origin} and {ours.origin}")

    return choose
