"""Write both graphs of a checkpoint at a precision, over one weights file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnx_ir as ir

from gpt2xl.bundle.remedies import HEAD_DIM_MULTIPLE
from gpt2xl.errors import CheckpointError, ParityError
from gpt2xl_export.formats.nbits import NBits
from gpt2xl_export.graph.engine import build_engine
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.graph.weights import WeightError, WeightsFile, externalize
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.passes.fp16 import ConvertToFloat16
from gpt2xl_export.passes.kv_int8 import QuantizeKVCache
from gpt2xl_export.passes.quantize_weights import QuantizeWeights
from gpt2xl_export.passes.skip_norm import FuseSkipNorms
from gpt2xl_export.recipes import EMBEDDINGS, assign, formats, has_format
from gpt2xl_export.rounding.calibration import KVRange, calibration_ids, kv_ranges
from gpt2xl_export.rounding.layers import calibration_text, round_layers
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray
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


def write_graphs(
    checkpoint: Checkpoint,
    folder: Path,
    options: ExportOptions,
    encode: Callable[[str], list[int]],
    progress: Callable[[int, int], None],
) -> WrittenGraphs:
    """Write graphs and weights into the empty ``folder``, tensor by tensor.

    Args:
        checkpoint: the source.
        folder: where to.
        options: resolved.
        encode: the tokenizer, for the calibration text.
        progress: called with (tensors read so far, tensors in all).

    Raises:
        CheckpointError: an int8 KV cache is wanted, but the head size allows no engine graph.
        RequestError: a keep rule matches no weight.
        ParityError: the ONNX checker refuses a graph.
    """
    counter = _Counter(checkpoint, progress)
    models = _build(replace(checkpoint, load=counter.load))
    if options.kv == "int8" and "engine" not in models:
        size = checkpoint.config.head_dim
        raise CheckpointError(
            f"an int8 KV cache needs a head size that is a multiple of {HEAD_DIM_MULTIPLE}, not {size}."
        )
    names = sorted(matrix_names(checkpoint.config), key=lambda name: name == "wte.weight")
    page = calibration_ids(encode, checkpoint.config)
    assigned = assign(options.recipe, names, options.keep)
    with WeightsFile(folder / f"model{options.recipe.suffix}.onnx_data") as weights:
        ranges = _store_matrices(checkpoint, options, assigned, page, weights, counter)
        if options.kv == "int8" and len(ranges) < checkpoint.config.n_layer:
            ranges = kv_ranges(checkpoint, page)
        for kind, model in models.items():
            for pass_ in _passes(options, assigned, weights, kind, ranges):
                pass_(model)
        externalize(models.values(), weights)
    for kind, model in models.items():
        _save(model, folder / f"{STEMS[kind]}{options.recipe.suffix}.onnx")
    return WrittenGraphs(models, weights.errors, weights.path.name, weights.sha256)


class _Counter:
    """Reads tensors of a checkpoint and reports how many different ones have been read."""

    def __init__(self, checkpoint: Checkpoint, progress: Callable[[int, int], None]) -> None:
        self._checkpoint, self._progress = checkpoint, progress
        self._seen = set[str]()

    def load(self, name: str) -> FloatArray:
        self.count(name)
        return self._checkpoint.load(name)

    def count(self, name: str) -> None:
        self._seen.add(name)
        self._progress(len(self._seen), len(self._checkpoint.tensor_names))


def _build(checkpoint: Checkpoint) -> dict[str, ir.Model]:
    models = {"portable": build_portable(checkpoint.config, checkpoint.load)}
    if checkpoint.config.head_dim % HEAD_DIM_MULTIPLE == 0:
        models["engine"] = build_engine(checkpoint.config, checkpoint.load)
    return models


def _store_matrices(
    checkpoint: Checkpoint,
    options: ExportOptions,
    assigned: Mapping[str, str],
    page: list[int],
    weights: WeightsFile,
    counter: _Counter,
) -> list[KVRange]:
    """Write every quantized matrix, format by format.

    Returns:
        The ranges of keys and values of the layers that were rounded by GPTQ, from the first on.
    """
    ranges: list[KVRange] = []
    float16 = options.recipe.float16
    for form_name, form in formats(options.block_size, float16=float16).items():
        names = [name for name, assigned_name in assigned.items() if assigned_name == form_name]
        if form_name == "int4" and names and options.rounding == "gptq":
            assert isinstance(form, NBits)
            text = calibration_text(checkpoint, page)
            for layer in round_layers(checkpoint, names, options.block_size, text):
                ranges.append(layer.kv_range)
                for name, rounded in layer.weights.items():
                    form.store_rounded(name, rounded, weights)
                    counter.count(name)
        elif form is not None:
            for name in names:
                values = counter.load(name)
                form.store(name, values if name in EMBEDDINGS else values.T, weights)
    return ranges


def _passes(
    options: ExportOptions,
    assigned: Mapping[str, str],
    weights: WeightsFile,
    kind: str,
    ranges: Sequence[KVRange],
) -> list[ir.passes.InPlacePass]:
    """What turns the float32 graph ``kind`` into that of ``options``, in order."""
    float16 = options.recipe.float16
    passes: list[ir.passes.InPlacePass] = [
        QuantizeWeights(form, has_format(assigned, name), weights)
        for name, form in formats(options.block_size, float16=float16).items()
        if form is not None
    ]
    if float16:
        passes.append(ConvertToFloat16(weights))
    if float16 and kind == "engine":
        passes.append(FuseSkipNorms())
    if options.kv == "int8" and kind == "engine":
        passes.append(QuantizeKVCache(ranges))
    return passes


def _save(model: ir.Model, path: Path) -> None:
    ir.save(model, path)
    try:
        onnx.checker.check_model(path)
    except onnx.checker.ValidationError as reason:
        raise ParityError(f"the ONNX checker refuses '{path.name}': {reason}") from None
