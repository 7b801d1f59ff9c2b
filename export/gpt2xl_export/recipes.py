"""What each precision is made of: a format for every weight matrix."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from gpt2xl.errors import RequestError
from gpt2xl_export.check.parity import Tolerance
from gpt2xl_export.formats.int8 import Int8
from gpt2xl_export.formats.linears import Format
from gpt2xl_export.formats.nbits import NBits
from gpt2xl_export.rounding.gptq import Rounded, best_scales

KEPT = ("fp32", "int8", "int8-weight", "int4")
HEADS = ("wte.weight", "lm_head.weight")
INT4_HEAD = "int4-head"
"""Finer than int4 and without GPTQ: the embedding is looked up, not multiplied with."""
# What a format may cost; a wrong graph costs several nats.
LOSSES = {
    "fp16": Tolerance(mean_kl=0.01),
    "int8": Tolerance(mean_kl=0.1),
    "int8-weight": Tolerance(mean_kl=0.1),
    "int4": Tolerance(mean_kl=0.5),
}


@dataclass(frozen=True)
class Recipe:
    """One precision."""

    suffix: str
    """Of the graph files, as transformers.js spells it."""
    dtype: str
    """transformers.js's name for it."""
    blocks: str
    """The format of the transformer blocks' matrices, a key of `formats`."""
    head: str
    """The format of the head, and of the token embedding."""
    tolerance: Tolerance
    float16: bool = False
    """Whether all that stays floating-point becomes float16."""


RECIPES: Mapping[str, Recipe] = {
    "fp32": Recipe("", "fp32", "fp32", "fp32", Tolerance(relative_logit_diff=1e-4)),
    "fp16": Recipe("_fp16", "fp16", "fp32", "fp32", LOSSES["fp16"], float16=True),
    "int8": Recipe("_int8", "int8", "int8", "int8-weight", LOSSES["int8"]),
    "int8-weight": Recipe("_int8", "int8", "int8-weight", "int8-weight", LOSSES["int8-weight"]),
    "int4": Recipe("_q4", "q4", "int4", "int8-weight", LOSSES["int4"]),
    "int4-fp16": Recipe("_q4f16", "q4f16", "int4", "int8-weight", LOSSES["int4"], float16=True),
}


def formats(
    block_size: int,
    rounder: Callable[[str], Rounded] | None = None,
    *,
    float16: bool = False,
) -> Mapping[str, Format | None]:
    """Every format a weight can have, by name.

    Args:
        block_size: inputs that share a scale in int4.
        rounder: of the int4 weights; without one they are rounded to nearest.
        float16: whether the scales of blocks are float16, as what they are multiplied with.
    """
    scales = np.float16 if float16 else np.float32
    if block_size < 16 or block_size & (block_size - 1):
        raise RequestError(f"block_size has to be a power of 2 from 16 on, but is {block_size}.")
    return {
        "fp32": None,
        "int8": Int8(),
        "int8-weight": NBits(bits=8, block_size=32, scale_type=scales),
        "int4": NBits(bits=4, block_size=block_size, rounder=rounder, scale_type=scales),
        INT4_HEAD: NBits(bits=4, block_size=32, scale=best_scales),
    }


def assign(recipe: Recipe, names: Iterable[str], keep: Sequence[str]) -> dict[str, str]:
    """The format of each weight matrix in ``names``.

    Args:
        recipe: decides where ``keep`` does not.
        names: of the matrices.
        keep: FORMAT:PATTERN, a pattern of weight names such as ``fp32:h.0.*``; the last match wins.

    Raises:
        RequestError: an unknown format, or a pattern that matches nothing.
    """
    assigned = {name: recipe.head if name in HEADS else recipe.blocks for name in names}
    for rule in keep:
        form, _, pattern = rule.partition(":")
        if form not in KEPT:
            raise RequestError(f"'{rule}': the format has to be one of {', '.join(KEPT)}.")
        matching = [name for name in assigned if fnmatchcase(name, pattern)]
        if not matching:
            raise RequestError(f"'{rule}' matches no weight; they are called like {next(iter(assigned))}.")  # fmt: skip
        assigned |= dict.fromkeys(matching, form)
    return assigned | {name: INT4_HEAD for name in HEADS if assigned.get(name) == "int4"}


def wants(assigned: Mapping[str, str], form: str) -> Callable[[str], bool]:
    """Whether a weight has been assigned ``form``, by its name."""
    return lambda name: assigned.get(name) == form
