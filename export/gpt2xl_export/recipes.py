"""What each precision is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from gpt2xl_export.parity import Tolerance
from gpt2xl_export.weights import WeightsFile

Pass = Callable[[ir.Model, WeightsFile], dict[str, Any]]
"""Changes a float32 graph in place; what it writes goes into the weights file under new names.

Returns the error it introduced, by tensor name."""


@dataclass(frozen=True)
class Recipe:
    """One precision."""

    suffix: str
    """Of the graph files, as transformers.js spells it."""
    dtype: str
    """transformers.js's name for it."""
    passes: tuple[Pass, ...]
    tolerance: Tolerance


RECIPES: dict[str, Recipe] = {
    "fp32": Recipe("", "fp32", (), Tolerance(relative_logit_diff=1e-4)),
}
