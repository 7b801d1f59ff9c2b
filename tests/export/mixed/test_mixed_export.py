"""Exports in mixed precision, whole: budgets hold, the manifest says why, and the rules make the same bundle again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2xl import ExportError, load
from gpt2xl_export.check.loss import measure_loss
from gpt2xl_export.exporting import export
from gpt2xl_export.formats.nbits import NBits
from gpt2xl_export.mixed.attempts import CHOICES
from gpt2xl_export.mixed.sensitivity import estimate_losses
from gpt2xl_export.mixed.sizes import files_bytes
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.output.graphs import write_graphs
from gpt2xl_export.progress import Progress
from gpt2xl_export.recipes import INT4_HEAD, formats
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.rounding.calibration import CalibrationText
from gpt2xl_export.source.checkpoint import open_checkpoint

MakeCheckpoint = Callable[..., Path]
SHAPE = {"n_embd": 64, "n_layer": 3, "n_positions": 64}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.checkpoints import write_checkpoint

    return write_checkpoint(tmp_path_factory.mktemp("mixed") / "source", SHAPE)


def chosen(manifest: dict[str, Any]) -> dict[str, str]:
    return {name: found["format"] for name, found in manifest["chosen"]["matrices"].items()}
