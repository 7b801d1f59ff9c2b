"""The text on which the loss of a mixed precision is measured; calibration does not see it."""

from collections.abc import Callable
from pathlib import Path

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.errors import ExportError
from gpt2xl.files.reading import read_text
from gpt2xl_export.progress import Count
from gpt2xl_export.rounding.calibration import MOST, CalibrationText, known_ids, written_length
from gpt2xl_export.rounding.own_text import own_text
from gpt2xl_export.source.checkpoint import Checkpoint

PAGE = Path(__file__).with_name("held_out.txt")
"""Texts of many kinds."""
ENOUGH = 512
"""Tokens of the user's text that have to be left for it to be used."""
ROWS, SEED = 8, 1
"""Of a text that a small model writes; calibration has another seed."""


def held_out_text(
    checkpoint: Checkpoint,
    encode: Callable[[str], list[int]],
    given: Path | None,
    report: Count = lambda *_: None,
) -> CalibrationText:
    """What follows the calibration tokens of the user's file, else a small model's own text, else our page.

    Args:
        checkpoint: the float32 model.
        encode: text -> ids.
        given: the user's calibration text.
        report: called while a model writes its text, with (positions done, positions in all).
    """
    config, length = checkpoint.config, written_length(checkpoint)
    if given is not None:
        ids = known_ids(encode(read_text(given, ExportError)), config)[MOST : 2 * MOST]
        if len(ids) >= ENOUGH:
            return CalibrationText(_rows(ids, config), f"{given.name} after {MOST} tokens")
    if length:
        rows = own_text(checkpoint, ROWS, length, report, seed=SEED)
        return CalibrationText(rows, "the model's own text, another than for calibration")
    ids = known_ids(encode(PAGE.read_text("utf-8")), config)
    return CalibrationText(_rows(ids, config), "gpt2xl's second page")


def _rows(ids: list[int], config: GPT2Config) -> list[list[int]]:
    size = config.n_positions
    return [ids[at : at + size] for at in range(0, len(ids), size)]
