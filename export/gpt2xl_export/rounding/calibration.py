"""Calibration: a text for every model, and the ranges of its keys and values on a text."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.errors import ExportError
from gpt2xl.files.reading import read_text
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray
from gpt2xl_export.source.tensors import expected_shapes

PAGE = Path(__file__).with_name("calibration.txt")
"""Texts of many kinds."""
PAGE_TOKENS, MOST = 1024, 4096  # tokens of our texts, and of a user's, at most
BUDGET = 5e11  # parameters times tokens of the calibration text
ROWS, SHORTEST, LONGEST = 32, 64, 512  # of a text that the model writes: rows, tokens of a row
KVRange = tuple[FloatArray, FloatArray]
"""Largest absolute key and value of a layer, [n_head, head_dim] each."""


@dataclass(frozen=True)
class CalibrationText:
    """What a model is calibrated on."""

    rows: Sequence[Sequence[int]]
    """Ids, each row from position 0 on."""
    origin: str
    """Where they come from, for the manifest."""

    @property
    def tokens(self) -> int:
        """Ids in all rows."""
        return sum(map(len, self.rows))


def page(encode: Callable[[str], list[int]], config: GPT2Config) -> CalibrationText:
    """Our own texts, again and again up to whole rows: each position has its own keys and values."""
    ids = known_ids(encode(PAGE.read_text("utf-8")), config)[:PAGE_TOKENS]
    size = -(-len(ids) // config.n_positions) * config.n_positions
    filled = list(islice(cycle(ids), size))
    return CalibrationText(_rows(filled, config.n_positions), "gpt2xl's page")


def given_text(
    path: Path, encode: Callable[[str], list[int]], config: GPT2Config
) -> CalibrationText:
    """The first MOST tokens of a file, in rows.

    Raises:
        ExportError: the file cannot be read, is not UTF-8 or has no tokens that the model knows.
    """
    text = read_text(path, ExportError)
    ids = known_ids(encode(text), config)[:MOST]
    if not ids:
        raise ExportError(f"the calibration text '{path}' has no tokens that the model knows.")
    return CalibrationText(_rows(ids, config.n_positions), path.name)


def _rows(ids: list[int], size: int) -> list[list[int]]:
    return [ids[at : at + size] for at in range(0, len(ids), size)]


def known_ids(ids: Sequence[int], config: GPT2Config) -> list[int]:
    """Those below vocab_size: a tokenizer may know more."""
    return [token_id for token_id in ids if token_id < config.vocab_size]


def written_length(checkpoint: Checkpoint) -> int:
    """Tokens in each of ROWS rows of the model's own text; 0 if BUDGET is too small for a text."""
    parameters = sum(map(math.prod, expected_shapes(checkpoint.config).values()))
    length = min(checkpoint.config.n_positions, LONGEST, int(BUDGET / parameters) // ROWS)
    return length if length >= min(SHORTEST, checkpoint.config.n_positions) else 0


def kv_range(keys: FloatArray, values: FloatArray, config: GPT2Config) -> KVRange:
    """The range of a layer with these ``keys`` and ``values``, [positions, n_embd] each."""
    shape = config.n_head, config.head_dim
    return np.abs(keys).max(0).reshape(shape), np.abs(values).max(0).reshape(shape)
