"""Write both graphs of a checkpoint at a precision, over one weights file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnx_ir as ir

from gpt2xl.bundle.remedies import HEAD_DIM_MULTIPLE
from gpt2xl.errors import CheckpointError, ParityError
from gpt2xl_export.graph.engine import build_engine
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.graph.weights import WeightError, WeightsFile, externalize
from gpt2xl_export.options import ExportOptions, has_engine
from gpt2xl_export.output.calibrating import Calibration, calibrate_export, make_plan
from gpt2xl_export.output.work import WeightsWork
from gpt2xl_export.passes.divide_inputs import DivideInputs
from gpt2xl_export.passes.fp16 import ConvertToFloat16
from gpt2xl_export.passes.kv_int8 import QuantizeKVCache
from gpt2xl_export.passes.quantize_weights import QuantizeWeights
from gpt2xl_export.passes.skip_norm import FuseSkipNorms
from gpt2xl_export.recipes import EMBEDDINGS, assign, formats, has_format
from gpt2xl_export.rounding.calibration import CalibrationText
from gpt2xl_export.rounding.equalization import equalized
from gpt2xl_export.rounding.layers import Step
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensors import matrix_names

STEMS = {"portable": "model", "engine": "engine"}


@dataclass(frozen=True)
class WrittenGraphs:
    """The graphs and the weights file in a folder."""

    models: Mapping[str, ir.Model]
    """"portable", and "engine" if GroupQueryAttention can have the head size."""
    errors: Mapping[str, WeightError]
    """For each weight that is not stored as it is, what that changed."""
    weights_name: str
    weights_sha256: str
    calibration: Calibration


def write_graphs(
    checkpoint: Checkpoint,
    folder: Path,
    options: ExportOptions,
    choose_text: Callable[[bool], CalibrationText],
    progress: Callable[[int, int], None],
) -> WrittenGraphs:
    """Write graphs and weights into the empty ``folder``, tensor by tensor.

    Args:
        checkpoint: the source.
        folder: where to.
        options: resolved.
        choose_text: gives the calibration text, if one is needed.
        progress: called with (bytes done, bytes in all): the size of all tensors in float32, a part of it
            after each step of the work on a tensor.

    Raises:
        CheckpointError: an int8 KV cache is wanted, but the head size allows no engine graph.
        RequestError: a keep rule matches no weight.
        ParityError: the ONNX checker refuses a graph.
    """
    if options.kv == "int8" and not has_engine(checkpoint.config):
        size = checkpoint.config.head_dim
        raise CheckpointError(
            f"an int8 KV cache needs a head size that is a multiple of {HEAD_DIM_MULTIPLE}, not {size}."
        )
    names = sorted(matrix_names(checkpoint.config), key=lambda name: name == "wte.weight")
    assigned = assign(options.recipe, names, options.keep)
    plan = make_plan(checkpoint, options, assigned)
    is_calibrated = bool(plan.products) or options.kv == "int8"
    work = WeightsWork(checkpoint, assigned, plan if is_calibrated else None, progress)
    with WeightsFile(folder / f"model{options.recipe.suffix}.onnx_data") as weights:
        found = calibrate_export(
            checkpoint, plan, options, assigned, choose_text, weights, work.step
        )
        even = equalized(replace(checkpoint, load=work.load), found.changes)
        _store_matrices(even, options, assigned, weights, work.step)
        models = _build(even)
        for kind, model in models.items():
            for pass_ in _passes(options, assigned, weights, kind, found):
                pass_(model)
        externalize(models.values(), weights)
    for kind, model in models.items():
        _save(model, folder / f"{STEMS[kind]}{options.recipe.suffix}.onnx")
    return WrittenGraphs(models, weights.errors, weights.path.name, weights.sha256, found)


def _build(checkpoint: Checkpoint) -> dict[str, ir.Model]:
    models = {"portable": build_portable(checkpoint.config, checkpoint.load)}
    if has_engine(checkpoint.config):
        models["engine"] = build_engine(checkpoint.config, checkpoint.load)
    return models


def _store_matrices(
    checkpoint: Checkpoint,
    options: ExportOptions,
    assigned: Mapping[str, str],
    weights: WeightsFile,
    step: Step,
) -> None:
    """Write the quantized matrices that calibration has not, format by format."""
    for form_name, form in formats(options.block_size, float16=options.recipe.float16).items():
        for name, assigned_name in assigned.items():
            if assigned_name == form_name and form is not None and name not in weights.errors:
                values = checkpoint.load(name)
                form.store(name, values if name in EMBEDDINGS else values.T, weights)
                step(name, "store")


def _passes(
    options: ExportOptions,
    assigned: Mapping[str, str],
    weights: WeightsFile,
    kind: str,
    found: Calibration,
) -> list[ir.passes.InPlacePass]:
    """What turns the float32 graph ``kind`` into that of ``options``, in order."""
    float16 = options.recipe.float16
    passes: list[ir.passes.InPlacePass] = [DivideInputs(found.changes)]
    passes += [
        QuantizeWeights(form, has_format(assigned, name), weights)
        for name, form in formats(options.block_size, float16=float16).items()
        if form is not None
    ]
    if float16:
        passes.append(ConvertToFloat16(weights))
    if float16 and kind == "engine":
        passes.append(FuseSkipNorms())
    if options.kv == "int8" and kind == "engine":
        passes.append(QuantizeKVCache(found.ranges))
    return passes


def _save(model: ir.Model, path: Path) -> None:
    ir.save(model, path)
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as reason:
        raise ParityError(f"the ONNX checker refuses '{path.name}': {reason}") from None
