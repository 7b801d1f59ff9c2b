"""Export a checkpoint folder to a checked bundle folder."""

import json
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import safetensors
import tokenizers

import gpt2xl
from gpt2xl.bundle.manifest import MANIFEST
from gpt2xl.errors import CheckpointError, ExportError, Gpt2xlWarning
from gpt2xl.files.reading import check_regular
from gpt2xl.sessions.exactness import LONG_STEP
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.check.layerwise import run_whole
from gpt2xl_export.check.losses import losses
from gpt2xl_export.check.parity import check_parity, compare, prompts
from gpt2xl_export.graph.weights import WeightError
from gpt2xl_export.mixed.attempts import MixedExport, mixed_costs
from gpt2xl_export.mixed.held_out import held_out_text
from gpt2xl_export.options import AUTO, ExportOptions
from gpt2xl_export.output.calibrating import Calibration, text_chooser
from gpt2xl_export.output.companions import write_companions
from gpt2xl_export.output.graphs import write_graphs
from gpt2xl_export.output.optimum_backend import write_optimum_graph
from gpt2xl_export.output.staging import claimed, staged_folder
from gpt2xl_export.output.work import export_costs
from gpt2xl_export.progress import Count, Progress, Stages
from gpt2xl_export.reference.activations import ACTIVATIONS
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.source.hub import ALIASES, is_hub_name
from gpt2xl_export.source.sources import Source, resolve
from gpt2xl_export.source.sums import file_sha256
from gpt2xl_export.text_graphs.writing import check_text, write_text_graphs
from gpt2xl_export.tokenizer.plain_bpe import PlainTokenizer
from gpt2xl_export.tokenizer.tokenization import check_tokenization

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
"""Versions for the manifest."""

AnySource = str | Path | Source | Callable[[], Source]


def export(
    source: AnySource,
    target: str | Path,
    options: ExportOptions | None = None,
    *,
    adapter: AnySource | None = None,
    calibration: str | Path | None = None,
    force: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Turn the GPT-2 checkpoint ``source`` into the bundle ``target``, and check it.

    All graphs are compared with a numpy forward pass before the folder gets its name. Memory holds
    one layer at a time; of a small model all of them, while it writes its own calibration text. Run one export at a
    time in a process: rounding to int4 limits the threads of BLAS in the whole process.

    Args:
        source: folder with config.json, weights and tokenizer, as transformers saves it; as a str
            also a model on the hub, such as "gpt2-xl". Or a function that fetches it; it is called
            once no other process can write ``target``.
        target: folder to create. It is written under a temporary name and then renamed.
        options: precision and the like; None: float32.
        adapter: PEFT LoRA adapter to merge into the weights; what ``source`` can be, this can be.
        calibration: UTF-8 text like that which the model will see; its first 4096 tokens are run to
            calibrate quantized precisions. None: a text of gpt2xl's own, or the model's own.
        force: whether to replace an existing bundle.
        progress: called often, from this thread, with the bytes that have been read, converted and checked.

    Returns:
        The manifest, as written to gpt2xl.json.

    Raises:
        BusyError: another process is exporting to ``target``.
        CheckpointError: the source is not a GPT-2 that can be exported, the adapter does not fit
            it, or a download fails.
        ExportError: ``target`` exists or cannot be written, ``calibration`` cannot be read or is not
            needed, or optimum is to merge an adapter.
        ParityError: the graphs do not compute what the checkpoint does; nothing is left behind.
        RequestError: a keep rule of ``options`` matches no weight.

    Warns:
        Gpt2xlWarning: a part of the source is left out, the tokenizer allows no text graph for strings, or a quantized precision loses more on this
            model than it should.

    Example::

        manifest = export("my-checkpoint", "my-bundle", ExportOptions("int8"))
        print(manifest["parity"]["engine"]["whole"]["mean_kl"])
    """
    options, target = options or ExportOptions(), Path(target)
    if adapter and options.backend == "optimum":
        raise ExportError("optimum cannot merge an adapter: export with `--backend gpt2xl`.")
    text_file = None if calibration is None else _text_file(Path(calibration), options)
    with claimed(target, force=force):
        merged = None if adapter is None else _fetched(adapter, is_adapter=True)  # small: first
        fetched = _fetched(source)
        checkpoint = _opened(fetched, merged)
        with staged_folder(target, force=force) as staging:
            options = options.resolved(checkpoint)
            check_text(options, checkpoint.config)
            costs = export_costs(checkpoint, options, has_text=text_file is not None)
            if options.precision == AUTO:
                costs = mixed_costs(checkpoint, costs)
            stages = Stages(progress, costs)
            origin = _origin(checkpoint, fetched, merged, stages.counter("hash"))
            manifest = _write_bundle(checkpoint, origin, staging, options, text_file, stages)
    for warning in losses(manifest):
        warnings.warn(warning, Gpt2xlWarning, stacklevel=2)
    return manifest


def _text_file(path: Path, options: ExportOptions) -> Path:
    """The calibration text, refused before anything is downloaded."""
    if not options.is_calibrated:
        raise ExportError(
            f"{options.precision} is not calibrated: leave out the calibration text '{path}'."
        )
    check_regular(path, ExportError)
    return path


def _fetched(source: AnySource, *, is_adapter: bool = False) -> Source:
    if callable(source):
        return source()
    if isinstance(source, str):
        return resolve(source, adapter=is_adapter)
    return Source(source, source.resolve().name) if isinstance(source, Path) else source


def _opened(source: Source, adapter: Source | None) -> Checkpoint:
    """The checkpoint with its adapter; warns of what is left out."""
    checkpoint = open_checkpoint(source.folder, adapter.folder if adapter else None)
    name = checkpoint.config.activation_function
    if name not in ACTIVATIONS:
        raise CheckpointError(
            f"activation_function {name!r} is not supported; these are: {', '.join(ACTIVATIONS)}."
        )
    for note in (*checkpoint.notes(), *_other_base(checkpoint, source)):
        warnings.warn(note, Gpt2xlWarning, stacklevel=3)
    return checkpoint


def _write_bundle(
    checkpoint: Checkpoint,
    origin: dict[str, Any],
    folder: Path,
    options: ExportOptions,
    text_file: Path | None,
    stages: Stages,
) -> dict[str, Any]:
    recipe = options.recipe
    report = stages.counter("tokenizer")
    report(0, 2)
    expected = write_companions(checkpoint, folder, recipe.suffix, recipe.dtype)
    tokenizer = Tokenizer.from_file(folder / "tokenizer.json")
    report(1, 2)
    tokenization = check_tokenization(PlainTokenizer(expected.content), tokenizer)
    report(2, 2)
    encode = tokenizer.encode
    if options.backend == "optimum":
        graphs = _write_with_optimum(checkpoint, folder / "onnx", options, encode, stages)
    else:
        graphs = _write_graphs(checkpoint, folder, options, encode, text_file, stages)
    if options.text:
        write_text_graphs(folder, options.one_file)
    if text_file and graphs.calibration.text is None:
        raise ExportError(f"nothing is calibrated: leave out the calibration text '{text_file}'.")
    manifest = {
        "format": 1,
        "source": origin,
        **graphs.options.described(),
        **({"long_step_from": LONG_STEP} if options.kv == "int8" else {}),
        **({"chosen": graphs.chosen} if graphs.chosen else {}),
        "tools": TOOLS,
        "passes": {name: asdict(error) for name, error in graphs.weight_errors.items()},
        **graphs.calibration.described(),
        "parity": graphs.parity,
        "tokenization": asdict(tokenization),
        "files": _files(folder, {f"onnx/{graphs.weights_name}": graphs.weights_sha256}),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return manifest


def _other_base(checkpoint: Checkpoint, source: Source) -> Iterator[str]:
    """A warning if the adapter was made for another model on the hub."""
    named = checkpoint.adapter.base if checkpoint.adapter else ""
    known = ALIASES.get(named, named)
    if source.revision is not None and is_hub_name(known) and known != source.name:
        yield f"the adapter was made for {known}, not for {source.name}."


def _origin(
    checkpoint: Checkpoint, source: Source, adapter: Source | None, report: Count
) -> dict[str, Any]:
    """Where the weights come from, for the manifest."""
    origin: dict[str, Any] = {"name": source.name, "revision": source.revision}
    origin["sha256"] = checkpoint.sha256(report)
    if adapter:
        named = {"name": adapter.name, "revision": adapter.revision}
        origin["adapter"] = named | {"sha256": checkpoint.adapter_sha256()}
    return origin


@dataclass(frozen=True)
class _CheckedGraphs:
    """What the manifest says of the graphs."""

    options: ExportOptions
    """Those that make them; formats that were chosen are keep rules."""
    weight_errors: Mapping[str, WeightError]
    weights_name: str
    weights_sha256: str
    parity: dict[str, Any]
    calibration: Calibration = field(default_factory=Calibration)
    chosen: dict[str, Any] = field(default_factory=dict)
    """Why the formats are as they are."""


def _write_graphs(
    checkpoint: Checkpoint,
    bundle: Path,
    options: ExportOptions,
    encode: Callable[[str], list[int]],
    text_file: Path | None,
    stages: Stages,
) -> _CheckedGraphs:
    """Build the graphs in a new folder of ``bundle`` and compare them with the checkpoint."""
    folder, chosen = bundle / "onnx", dict[str, Any]()
    prompt_ids = prompts(encode, checkpoint.config.vocab_size, checkpoint.config.n_positions)
    choose_text = text_chooser(checkpoint, encode, text_file, stages.counter("text"))
    if options.precision == AUTO:
        text = choose_text(options.rounding == "gptq")
        held_out = held_out_text(checkpoint, encode, text_file, stages.counter("text 2"))
        mixed = MixedExport(checkpoint, bundle, options, text, held_out, stages).write(folder)
        graphs, options, chosen = mixed.graphs, mixed.options, mixed.described
    else:
        folder.mkdir()
        graphs = write_graphs(checkpoint, folder, options, choose_text, stages.counter("weights"))
    report = stages.counter("check")
    parity = check_parity(checkpoint, graphs.models, folder, prompt_ids, options.tolerance, report)
    return _CheckedGraphs(
        options,
        graphs.errors,
        graphs.weights_name,
        graphs.weights_sha256,
        parity,
        graphs.calibration,
        chosen,
    )


def _write_with_optimum(
    checkpoint: Checkpoint,
    folder: Path,
    options: ExportOptions,
    encode: Callable[[str], list[int]],
    stages: Stages,
) -> _CheckedGraphs:
    """Do what `_write_graphs` does, with a graph that optimum builds."""
    folder.mkdir()
    prompt_ids = prompts(encode, checkpoint.config.vocab_size, checkpoint.config.n_positions)
    name, digest = write_optimum_graph(checkpoint.folder, folder)
    runners = {"portable": partial(run_whole, folder / "model.onnx", checkpoint.config)}
    report = stages.counter("check")
    return _CheckedGraphs(
        options,
        {},
        name,
        digest,
        compare(checkpoint, runners, prompt_ids, options.tolerance, report),
    )


def _files(folder: Path, known: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Size and sha256 of every file in ``folder``; ``known`` hashes are not computed again."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    return {
        name: {
            "size": (folder / name).stat().st_size,
            "sha256": known.get(name) or file_sha256(folder / name),
        }
        for name in names
    }
