"""Write both graphs of a checkpoint at a precision, over one weights file."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnx_ir as ir

from gpt2xl.bundle.remedies import HEAD_DIM_MULTIPLE
from gpt2xl.errors import CheckpointError, ParityError
from gpt2xl_export.formats.nbits import NBits, largest_of_blocks
from gpt2xl_export.formats.protocol import Format
from gpt2xl_export.graph.engine import build_engine
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.graph.weights import WeightError, WeightsFile, externalize
from gpt2xl_export.options import ExportOptions, has_engine
from gpt2xl_export.output.calibrating import Calibration, calibrate_export, make_plan
from gpt2xl_export.output.work import WeightsWork
from gpt2xl_export.passes.choose_bits import ChooseBits
from gpt2xl_export.passes.divide_inputs import DivideInputs
from gpt2xl_export.passes.fp16 import ConvertToFloat16
from gpt2xl_export.passes.kv_int8 import QuantizeKVCache
from gpt2xl_export.passes.quantize_weights import QuantizeWeights
from gpt2xl_export.passes.skip_norm import FuseSkipNorms
from gpt2xl_export.recipes import EMBEDDINGS, assign, formats, has_format
from gpt2xl_export.rounding.calibration import CalibrationText, KVRange
from gpt2xl_export.rounding.equalization import ATTENTION_OUT, equalized
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
        if options.recipe.long_steps:
            models["engine"] = _with_long_steps(even, options, assigned, weights, found)
        for kind, model in models.items():
            if kind == "portable" or not options.recipe.long_steps:
                _apply(_passes(options, assigned, weights, kind, found), model)
        externalize(models.values(), weights)
    for kind, model in models.items():
        _save(model, folder / f"{STEMS[kind]}{options.recipe.suffix}.onnx")
    return WrittenGraphs(models, weights.errors, weights.path.name, weights.sha256, found)


def _build(checkpoint: Checkpoint) -> dict[str, ir.Model]:
    models = {"portable": build_portable(checkpoint.config, checkpoint.load)}
    if has_engine(checkpoint.config):
        models["engine"] = build_engine(checkpoint.config, checkpoint.load)
    return models


def _with_long_steps(
    checkpoint: Checkpoint,
    options: ExportOptions,
    assigned: Mapping[str, str],
    weights: WeightsFile,
    found: Calibration,
) -> ir.Model:
    """An engine graph with a second set of matrices, with which its long steps multiply."""
    shared = replace(found, ranges=_block_ranges(found.ranges, assigned))
    short, long = (build_engine(checkpoint.config, checkpoint.load) for _ in range(2))
    heads = [name for name in (_head(checkpoint),) if assigned[name] == options.recipe.head]
    blocks = [name for name, kept in assigned.items() if kept.startswith("int4")]
    eight_bits = formats(options.block_size)[str(options.recipe.long_steps)]
    for model, form, names in (
        (short, options.recipe.short_head, heads),
        (long, eight_bits, [*blocks, *heads]),
    ):
        assert form is not None
        _store_again(checkpoint, form, names, weights)
        instead = QuantizeWeights(form, names.__contains__, weights, embeds=False)
        _apply(
            _passes(
                options, assigned, weights, "engine", shared, instead, has_long_steps=model is long
            ),
            model,
        )
    ChooseBits(short, checkpoint.config.n_layer)(long)
    return long


def _store_again(
    checkpoint: Checkpoint, form: Format, names: Sequence[str], weights: WeightsFile
) -> None:
    """Write matrices in a second format; the errors stay those of the first."""
    for name in names:
        first, values = weights.errors[name], checkpoint.load(name)
        form.store(name, values if name in EMBEDDINGS else values.T, weights)
        weights.errors[name] = first


def _head(checkpoint: Checkpoint) -> str:
    return "wte.weight" if checkpoint.config.tie_word_embeddings else "lm_head.weight"


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
    instead: QuantizeWeights | None = None,
    *,
    has_long_steps: bool = True,
) -> list[ir.passes.InPlacePass]:
    """What turns the float32 graph ``kind`` into that of ``options``, in order.

    ``instead`` comes before the formats that are ``assigned``, which it leaves no products.
    """
    float16 = options.recipe.float16
    passes: list[ir.passes.InPlacePass] = [DivideInputs(found.changes)]
    passes += [instead] if instead else []
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
        passes.append(QuantizeKVCache(found.ranges, has_long_steps=has_long_steps))
    return passes


def _apply(passes: Iterable[ir.passes.InPlacePass], model: ir.Model) -> None:
    for pass_ in passes:
        pass_(model)


def _block_ranges(ranges: Sequence[KVRange], assigned: Mapping[str, str]) -> list[KVRange]:
    """``ranges`` with one of the values for each block of c_proj's inputs: graphs with other formats then share a cache."""
    found, forms = [], formats(ExportOptions.block_size)
    for number, (keys, values) in enumerate(ranges):
        form = forms[assigned[f"h.{number}.{ATTENTION_OUT}.weight"]]
        if isinstance(form, NBits):
            values = largest_of_blocks(values.ravel(), form.block_size).reshape(values.shape)
        found.append((keys, values))
    return found


def _save(model: ir.Model, path: Path) -> None:
    ir.save(model, path)
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as reason:
        raise ParityError(f"the ONNX checker refuses '{path.name}': {reason}") from None
