"""Calibration: a text for every model, and the ranges of its keys and values on a text."""

import math
from collections.abc import Callable

import numpy as np

from gpt2xl.bundle.config import GPT2Config
from gpt2xl_export.reference.forward import Reference, apply_linear
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray
from gpt2xl_export.source.tensors import expected_shapes

# For models too large to write a text of their own: narrative, speech, numbers, names, code and a
# list, so that many kinds of tokens occur.
TEXT = """\
Once upon a time there lived by the sea an old fisherman who owned nothing but a leaking boat, a net \
full of holes and a daughter wiser than the mayor. One grey morning the net came up so heavy that he \
called for help. "Pull, child!" he cried; "either we have caught a whale, or the bottom of the sea." \
They had caught a bell, green with age, and when the girl struck it with her knuckle it said, quite \
clearly: "Who wakes me?" She answered that she was sorry, that it was Tuesday, and that breakfast was \
at eight.

The committee met again on 14 March 2019 to discuss the budget of $3.7 million, 12.5% more than in the \
year before. According to Dr. Maria Jensen of the University of Oslo, who led the study, the results \
"were not what anybody expected": of 1,024 patients, 417 had recovered within six weeks, although none \
of them had been treated. The minister, asked about it in Berlin, declined to comment. Shares fell.

def area(width, height=2.0):
    # width and height in metres
    return [row * width for row in range(int(height))] or {"error": None}

Ingredients: two eggs; 250 g of flour; a pinch of salt; milk. Beat the eggs, add the rest, and wait for \
half an hour. However, if the dough is too thin - and it usually is - do not despair: http://www.example.com \
has a better recipe (see also chapter 7). What would you have done? I don't know. We'll see, won't we?
"""


BUDGET = 5e11  # parameters times tokens of the calibration text
ROWS, SHORTEST, LONGEST = 32, 64, 512  # of a text that the model writes: rows, tokens of a row
QKV = "attn.c_attn"
"""The linear layer that computes queries, keys and values."""
KVRange = tuple[FloatArray, FloatArray]
"""Largest absolute key and value of a layer, [n_head, head_dim] each."""


def calibration_ids(encode: Callable[[str], list[int]], config: GPT2Config) -> list[int]:
    """The ids of TEXT that the model knows, cut to its context."""
    ids = [token_id for token_id in encode(TEXT) if token_id < config.vocab_size]
    return ids[: config.n_positions]


def written_length(checkpoint: Checkpoint) -> int:
    """Tokens in each of ROWS rows of the model's own text; 0 if BUDGET is too small for a text."""
    parameters = sum(map(math.prod, expected_shapes(checkpoint.config).values()))
    length = min(checkpoint.config.n_positions, LONGEST, int(BUDGET / parameters) // ROWS)
    return length if length >= min(SHORTEST, checkpoint.config.n_positions) else 0


def kv_ranges(checkpoint: Checkpoint, ids: list[int]) -> list[KVRange]:
    """The range of every layer on the text ``ids``."""
    found: list[KVRange] = []

    def watched(name: str, x: FloatArray) -> FloatArray:
        result = apply_linear(checkpoint.load, name, x)
        if name.endswith(QKV):
            found.append(kv_range(result, checkpoint.config))
        return result

    reference = Reference(checkpoint, watched)
    states = reference.embed([ids])
    for layer in range(checkpoint.config.n_layer):
        states = reference.block(layer, states)
    return found


def kv_range(qkv: FloatArray, config: GPT2Config) -> KVRange:
    """The range of a layer with the packed queries, keys and values ``qkv``, [positions, 3 d]."""
    largest = np.abs(qkv).max(0).reshape(3, config.n_head, config.head_dim)
    return largest[1], largest[2]
