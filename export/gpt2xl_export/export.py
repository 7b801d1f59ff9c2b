"""Checkpoint folder in, checked bundle folder out."""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import safetensors
import tokenizers

import gpt2xl
from gpt2xl.bundle import MANIFEST
from gpt2xl.errors import CheckpointError, ParityError, RequestError
from gpt2xl.tokenizer import Tokenizer
from gpt2xl_export.activations import ACTIVATIONS
from gpt2xl_export.checkpoint import Checkpoint, file_sha256, open_checkpoint
from gpt2xl_export.companions import write_companions
from gpt2xl_export.graph.engine import build_engine
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.parity import check_parity, prompts
from gpt2xl_export.recipes import RECIPES, Recipe
from gpt2xl_export.staging import staged_folder
from gpt2xl_export.weights import WeightsFile, externalize

TOOLS = {
    "gpt2xl": gpt2xl.__version__,
    "onnx": onnx.__version__,
    "onnx-ir": ir.__version__,
    "onnxruntime": onnxruntime.__version__,
    "numpy": np.__version__,
    "safetensors": safetensors.__version__,
    "tokenizers": tokenizers.__version__,
    "python": platform.python_version(),
}


@dataclass(frozen=True)
class Progress:
    """How far an export is."""

    stage: str
    """"weights" or "check"."""
    done: int
    total: int


def export(
    source: Path,
    out: Path,
    *,
    precision: str = "fp32",
    force: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Turn the GPT-2 checkpoint in ``source`` into the bundle ``out``, and check it.

    Both graphs are compared with a numpy forward pass before the folder takes its name; memory
    holds one layer at a time.

    Args:
        source: Hugging Face folder with config.json, safetensors and tokenizer.
        out: folder to create, written aside and renamed.
        precision: a key of RECIPES.
        force: whether to replace a bundle that is there.
        progress: called often, from this thread.

    Returns:
        The manifest, as written to gpt2xl.json.

    Raises:
        CheckpointError: the source is no GPT-2 this can export.
        ExportError: ``out`` exists or cannot be written.
        ParityError: the graphs do not compute what the checkpoint does; nothing is left behind.
    """
    if precision not in RECIPES:
        raise RequestError(f"precision has to be one of {', '.join(RECIPES)}, but is {precision!r}.")
    recipe = RECIPES[precision]
    checkpoint = open_checkpoint(source)
    _check_supported(checkpoint)
    with staged_folder(out, force=force) as staging:
        write_companions(checkpoint, staging, recipe.suffix, recipe.dtype)
        models, errors, digest = _write_graphs(checkpoint, staging / "onnx", recipe, progress)
        tokenizer = Tokenizer.from_file(staging / "tokenizer.json")
        steps = checkpoint.config.n_layer + 2
        counter = iter(range(1, steps + 1))
        report = check_parity(
            checkpoint,
            models,
            staging / "onnx",
            prompts(tokenizer.encode, checkpoint.config.vocab_size, checkpoint.config.n_positions),
            recipe.tolerance,
            lambda: progress(Progress("check", next(counter), steps)),
        )
        manifest = {
            "format": 1,
            "precision": precision,
            "source": {"name": source.resolve().name, "sha256": checkpoint.sha256()},
            "tools": TOOLS,
            "passes": errors,
            "parity": report,
            "files": _files(staging, {f"onnx/model{recipe.suffix}.onnx_data": digest}),
        }
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return manifest


def _check_supported(checkpoint: Checkpoint) -> None:
    name = checkpoint.config.activation_function
    if name not in ACTIVATIONS:
        raise CheckpointError(
            f"activation_function {name!r} is not supported; these are: {', '.join(ACTIVATIONS)}."
        )


def _write_graphs(
    checkpoint: Checkpoint, folder: Path, recipe: Recipe, progress: Callable[[Progress], None]
) -> tuple[dict[str, ir.Model], dict[str, Any], str]:
    """Both graphs over one weights file; also each pass's errors and the weights' sha256."""
    folder.mkdir()
    total = len(set(checkpoint.tensor_names))
    seen: set[str] = set()

    def load(name: str) -> Any:
        seen.add(name)
        progress(Progress("weights", len(seen), total))
        return checkpoint.load(name)

    models = {
        "portable": build_portable(checkpoint.config, load),
        "engine": build_engine(checkpoint.config, load),
    }
    weights = WeightsFile(folder / f"model{recipe.suffix}.onnx_data")
    errors: dict[str, Any] = {}
    for model in models.values():
        for change in recipe.passes:
            errors |= change(model, weights)
    externalize(models.values(), weights)
    digest = weights.close()
    for model, stem in zip(models.values(), ("model", "engine"), strict=True):
        path = folder / f"{stem}{recipe.suffix}.onnx"
        ir.save(model, path)
        try:
            onnx.checker.check_model(path)
        except onnx.checker.ValidationError as reason:
            raise ParityError(f"the onnx checker refuses '{path.name}': {reason}") from None
    return models, errors, digest


def _files(folder: Path, known: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file below ``folder``; ``known`` hashes are not computed again."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())  # fmt: skip
    return {
        name: {
            "size": (folder / name).stat().st_size,
            "sha256": known.get(name) or file_sha256(folder / name),
        }
        for name in names
    }
