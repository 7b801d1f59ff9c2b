"""Build both graphs of a checkpoint at a precision, over one weights file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx_ir as ir

from gpt2xl.errors import CheckpointError, ParityError, RequestError
from gpt2xl_export.check.parity import Tolerance
from gpt2xl_export.formats.linears import store_as
from gpt2xl_export.graph.engine import build_engine
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.graph.weights import WeightsFile, externalize
from gpt2xl_export.passes.fp16 import convert_to_float16
from gpt2xl_export.passes.kv_int8 import quantize_kv_cache
from gpt2xl_export.passes.skip_norm import fuse_skip_norms
from gpt2xl_export.recipes import LOSSES, RECIPES, Recipe, assign, formats, wants
from gpt2xl_export.rounding.calibration import calibration_ids, kv_ranges
from gpt2xl_export.rounding.rounder import rounder_for
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray
from gpt2xl_export.source.tensors import matrix_names

STEMS = {"portable": "model", "engine": "engine"}
HEAD_STEP = 8  # GroupQueryAttention takes no other head sizes than its multiples


@dataclass(frozen=True)
class ExportOptions:
    """How the weights and the cache are stored."""

    precision: str = "fp32"
    """A key of RECIPES."""
    block_size: int = 64
    """Inputs that share a scale in int4."""
    kv: Literal["auto", "float", "int8"] = "auto"
    """How the engine graph keeps its KV cache; auto: int8 beside quantized weights where it can be."""
    keep: tuple[str, ...] = field(default=())
    """FORMAT:PATTERN rules for single weights, such as fp32:h.0.*"""
    backend: Literal["gpt2xl", "optimum"] = "gpt2xl"
    """Who builds the graph; optimum's is portable only."""
    rounding: Literal["auto", "gptq", "nearest"] = "auto"
    """How int4 picks codes; auto: GPTQ, but where the checkpoint was trained for another way, that."""

    @property
    def recipe(self) -> Recipe:
        """That of the precision."""
        return RECIPES[self.precision]

    def resolved(self, checkpoint: Checkpoint) -> "ExportOptions":
        """Without "auto", for ``checkpoint``."""
        quantized = self.precision.startswith("int") and not self.recipe.float16
        quantized = quantized and checkpoint.config.head_dim % HEAD_STEP == 0
        automatic: Literal["float", "int8"] = "int8" if quantized else "float"
        return replace(
            self,
            kv=automatic if self.kv == "auto" else self.kv,
            rounding=self._rounding(checkpoint) if self.rounding == "auto" else self.rounding,
        )

    def _rounding(self, checkpoint: Checkpoint) -> Literal["gptq", "nearest"]:
        trained = {"method": "nearest", "block_size": self.block_size}
        return "nearest" if checkpoint.int4_rounding == trained else "gptq"

    @property
    def tolerance(self) -> Tolerance:
        """That of the lossiest part."""
        parts = [self.recipe.tolerance, *(LOSSES.get(k.partition(":")[0]) for k in self.keep)]
        parts.append(LOSSES["int8"] if self.kv == "int8" else None)
        losses = [part.mean_kl for part in parts if part is not None and part.mean_kl is not None]
        return Tolerance(mean_kl=max(losses)) if losses else self.recipe.tolerance

    def check(self) -> None:
        """Raise RequestError for an option out of its range."""
        if self.precision not in RECIPES:
            raise RequestError(
                f"precision has to be one of {', '.join(RECIPES)}, but is {self.precision!r}."
            )
        if self.kv not in ("auto", "float", "int8"):
            raise RequestError(f"kv has to be auto, float or int8, but is {self.kv!r}.")
        if self.rounding not in ("auto", "gptq", "nearest"):
            raise RequestError(
                f"rounding has to be auto, gptq or nearest, but is {self.rounding!r}."
            )
        if self.recipe.float16 and (self.keep or self.kv == "int8"):
            raise RequestError(f"{self.precision} goes with neither keep nor an int8 KV cache.")
        if self.backend == "optimum" and self != ExportOptions(backend="optimum"):
            raise RequestError("the optimum backend makes fp32 only, and takes no other option.")
        formats(self.block_size)


@dataclass(frozen=True)
class Graphs:
    """What was written into a folder."""

    models: Mapping[str, ir.Model]
    """"portable", and "engine" where GroupQueryAttention takes the head size."""
    errors: Mapping[str, Any]
    """For each weight a pass changed, its method and the error it introduced."""
    weights_name: str
    weights_sha256: str


def write_graphs(
    checkpoint: Checkpoint,
    folder: Path,
    options: ExportOptions,
    encode: Callable[[str], list[int]],
    progress: Callable[[int, int], None],
) -> Graphs:
    """Write graphs and weights into the empty ``folder``, tensor by tensor.

    Args:
        checkpoint: the source.
        folder: where to.
        options: checked.
        encode: the tokenizer, for calibration text.
        progress: told (tensors read so far, tensors in all).

    Raises:
        CheckpointError: an int8 KV cache for heads that the engine graph cannot have.
        RequestError: a keep rule that fits no weight.
        ParityError: the ONNX checker refuses a graph.
    """
    models = _build(checkpoint, progress)
    if options.kv == "int8" and "engine" not in models:
        size = checkpoint.config.head_dim
        raise CheckpointError(
            f"an int8 KV cache needs a head size that is a multiple of 8, not {size}."
        )
    assigned = assign(options.recipe, matrix_names(checkpoint.config), options.keep)
    errors: dict[str, Any] = {}
    ids = calibration_ids(encode, checkpoint.config)
    rounder = None
    if options.rounding != "nearest":
        rounder = rounder_for(checkpoint, wants(assigned, "int4"), options.block_size, ids)
    known = formats(options.block_size, rounder, float16=options.recipe.float16)
    with WeightsFile(folder / f"model{options.recipe.suffix}.onnx_data") as weights:
        for model in models.values():
            for name, form in known.items():
                if form is not None:
                    errors |= store_as(form, model, weights, wants(assigned, name))
            if options.recipe.float16:
                errors |= convert_to_float16(model, weights)
        if options.recipe.float16 and "engine" in models:
            fuse_skip_norms(models["engine"])
        if options.kv == "int8":
            ranges = rounder.kv_ranges if rounder else []
            if len(ranges) < checkpoint.config.n_layer:  # no GPTQ in the last layers
                ranges = kv_ranges(checkpoint, ids)
            quantize_kv_cache(models["engine"], ranges)
        externalize(models.values(), weights)
    for kind, model in models.items():
        _save(model, folder / f"{STEMS[kind]}{options.recipe.suffix}.onnx")
    return Graphs(models, errors, weights.path.name, weights.sha256)


def _build(checkpoint: Checkpoint, progress: Callable[[int, int], None]) -> dict[str, ir.Model]:
    total, seen = len(checkpoint.tensor_names), set[str]()

    def load(name: str) -> FloatArray:
        seen.add(name)
        progress(len(seen), total)
        return checkpoint.load(name)

    models = {"portable": build_portable(checkpoint.config, load)}
    if checkpoint.config.head_dim % HEAD_STEP == 0:
        models["engine"] = build_engine(checkpoint.config, load)
    return models


def _save(model: ir.Model, path: Path) -> None:
    ir.save(model, path)
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as reason:
        raise ParityError(f"the onnx checker refuses '{path.name}': {reason}") from None
