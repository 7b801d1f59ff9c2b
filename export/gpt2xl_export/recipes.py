"""The format of every weight matrix at each precision."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from gpt2xl.errors import RequestError
from gpt2xl_export.check.difference import Tolerance
from gpt2xl_export.formats.int8 import Int8
from gpt2xl_export.formats.nbits import NBits
from gpt2xl_export.formats.protocol import Format
from gpt2xl_export.rounding.gptq import best_scales

BLOCK_SIZES = (16, 32, 64, 128, 256)
"""Of int4, as a keep rule can name them: int4-32."""
KEPT = ("fp32", "int8", "int8-weight", "int4", *(f"int4-{size}" for size in BLOCK_SIZES))
"""The formats that a keep rule can name."""
EMBEDDINGS = ("wte.weight", "lm_head.weight")
"""The token embedding, which a tied head uses as well, and a head of its own; both are [vocab_size, n_embd]."""
INT4_HEAD = "int4-head"
"""Finer than int4 and without GPTQ: calibration runs the blocks only, so the head's inputs are not recorded."""
# What a format may cost in exactness; a wrong graph costs several nats.
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
    """The suffix of the graph files, in the spelling of transformers.js."""
    dtype: str
    """The precision's name in transformers.js."""
    blocks: str
    """The format of the transformer blocks' matrices, a key of `formats`."""
    head: str
    """The format of the head and of the token embedding."""
    tolerance: Tolerance
    rules: tuple[str, ...] = ()
    """Rules like those of ``keep``, which come before the user's."""
    long_steps: str | None = None
    """The format of a second set of the 4-bit matrices and of the head, for long steps; None: there is no such set."""
    short_head: NBits | None = None
    """The format of the head in short steps, where it is not that of the embedding."""
    float16: bool = False
    """Whether everything that is not quantized becomes float16: `ConvertToFloat16` does it after the formats."""


RECIPES: Mapping[str, Recipe] = {
    "fp32": Recipe("", "fp32", "fp32", "fp32", Tolerance(relative_logit_diff=1e-4)),
    "fp16": Recipe("_fp16", "fp16", "fp32", "fp32", LOSSES["fp16"], float16=True),
    "int8": Recipe("_int8", "int8", "int8", "int8-weight", LOSSES["int8"]),
    "int8-weight": Recipe("_int8", "int8", "int8-weight", "int8-weight", LOSSES["int8-weight"]),
    "int4": Recipe("_q4", "q4", "int4", "int8-weight", LOSSES["int4"]),
    "fast": Recipe(
        "_q4",
        "q4",
        "int4-128",
        "int8-weight",
        LOSSES["int4"],
        rules=("int4-256:*.mlp.c_proj.weight",),
        long_steps="int8",
        short_head=NBits(bits=4, block_size=128, scale=best_scales, part=".head"),
    ),
    "int4-fp16": Recipe("_q4f16", "q4f16", "int4", "int8-weight", LOSSES["int4"], float16=True),
}


def formats(block_size: int, *, float16: bool = False) -> Mapping[str, Format | None]:
    """Every format that a weight can have, by name, in the order in which they are stored.

    Args:
        block_size: inputs that share a scale in int4, where no rule names another size.
        float16: whether the activations, and so the scales of blocks, are float16.
    """
    scale_type = np.float16 if float16 else np.float32
    found: dict[str, Format | None] = {
        "fp32": None,
        "int8": Int8(),
        "int8-weight": NBits(bits=8, block_size=32, scale_type=scale_type),
        "int4": NBits(bits=4, block_size=block_size, scale_type=scale_type),
        INT4_HEAD: NBits(bits=4, block_size=32, scale=best_scales),
    }
    for size in BLOCK_SIZES:
        found[f"int4-{size}"] = NBits(bits=4, block_size=size, scale_type=scale_type)
        found[f"{INT4_HEAD}-{size}"] = NBits(bits=4, block_size=size, scale=best_scales)
    return found


def assign(recipe: Recipe, names: Iterable[str], keep: Sequence[str]) -> dict[str, str]:
    """Choose the format of each weight matrix in ``names``.

    Args:
        recipe: decides unless a rule does.
        names: of the matrices.
        keep: rules FORMAT:PATTERN, with a pattern of weight names such as ``fp32:h.0.*`` or
            ``int4-32:*.mlp.*``; the last match wins.

    Raises:
        RequestError: a rule has an unknown format, or its pattern matches no weight.
    """
    assigned = {name: recipe.head if name in EMBEDDINGS else recipe.blocks for name in names}
    for rule in (*recipe.rules, *keep):
        form, _, pattern = rule.partition(":")
        if form not in KEPT:
            raise RequestError(f"'{rule}': the format has to be one of {', '.join(KEPT)}.")
        matching = [name for name in assigned if fnmatchcase(name, pattern)]
        if not matching:
            example = next(iter(assigned))
            raise RequestError(f"'{rule}' matches no weight; names look like {example}.")
        assigned |= dict.fromkeys(matching, form)
    heads = {name: head_format(assigned[name]) for name in EMBEDDINGS if name in assigned}
    return assigned | heads


def head_format(form: str) -> str:
    """What ``form`` is for a head or an embedding.

    >>> head_format("int4"), head_format("int4-64"), head_format("int8")
    ('int4-head', 'int4-head-64', 'int8')
    """
    return form.replace("int4", INT4_HEAD, 1)


def has_format(assigned: Mapping[str, str], form: str) -> Callable[[str], bool]:
    """A function that says whether a weight, by its name, has the format ``form``."""
    return lambda name: assigned.get(name) == form
