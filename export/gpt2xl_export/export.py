"""Checkpoint folder in, checked bundle folder out."""

import json
import platform
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
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
from gpt2xl.sessions.exactness import LONG_STEP
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.check.layerwise import run_whole
from gpt2xl_export.check.parity import check_parity, compare, prompts
from gpt2xl_export.output.companions import write_companions
from gpt2xl_export.output.graphs import ExportOptions, write_graphs
from gpt2xl_export.output.optimum_backend import write_optimum_graph
from gpt2xl_export.output.staging import claimed, staged_folder
from gpt2xl_export.reference.activations import ACTIVATIONS
from gpt2xl_export.source.checkpoint import Checkpoint, file_sha256, open_checkpoint
from gpt2xl_export.source.hub import ALIASES, is_hub_name
from gpt2xl_export.source.sources import Source
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

DEFAULTS = ExportOptions()
AnySource = Source | Path | Callable[[], Source]


@dataclass(frozen=True)
class Progress:
    """How far an export is."""

    stage: str
    """"weights" or "check"."""
    done: int
    total: int


def export(
    source: AnySource,
    out: Path,
    options: ExportOptions = DEFAULTS,
    *,
    adapter: AnySource | None = None,
    force: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> dict[str, Any]:
    """Turn the GPT-2 checkpoint ``source`` into the bundle ``out``, and check it.

    Both graphs are compared with a numpy forward pass before the folder takes its name; memory
    holds one layer at a time. One export at a time in a process: rounding to int4 limits the threads of
    BLAS for all of it.

    Args:
        source: Hugging Face folder with config.json, safetensors and tokenizer; or a function that
            fetches it, called once no other process can write ``out``.
        out: folder to create, written aside and renamed.
        options: precision and the like.
        adapter: folder of a PEFT LoRA adapter, merged into the weights as they are read.
        force: whether to replace a bundle that is there.
        progress: called often, from this thread.

    Returns:
        The manifest, as written to gpt2xl.json.

    Raises:
        BusyError: another process is exporting to ``out``.
        CheckpointError: the source is no GPT-2 this can export, or the adapter does not fit it.
        ExportError: ``out`` exists or cannot be written, or optimum is to merge an adapter.
        ParityError: the graphs do not compute what the checkpoint does; nothing is left behind.
        RequestError: an option out of its range.

    Warns:
        Gpt2xlWarning: something of the source is left out; it is named.
    """
    options.check()
    if adapter and options.backend == "optimum":
        raise ExportError("optimum cannot merge an adapter: export with `--backend gpt2xl`.")
    with claimed(out, force=force):
        merged = None if adapter is None else _fetched(adapter)  # the small one first
        return _export(_fetched(source), merged, out, options, force, progress)


def _export(
    source: Source,
    adapter: Source | None,
    out: Path,
    options: ExportOptions,
    force: bool,
    progress: Callable[[Progress], None],
) -> dict[str, Any]:
    checkpoint = open_checkpoint(source.folder, adapter.folder if adapter else None)
    _check_supported(checkpoint)
    for note in (*checkpoint.notes(), *_other_base(checkpoint, source)):
        warnings.warn(note, Gpt2xlWarning, stacklevel=3)
    options = options.resolved(checkpoint)
    with staged_folder(out, force=force) as staging:
        recipe = options.recipe
        expected = write_companions(checkpoint, staging, recipe.suffix, recipe.dtype)
        tokenizer = Tokenizer.from_file(staging / "tokenizer.json")
        tokenization = check_tokenization(PlainTokenizer(expected.content), tokenizer)
        encode = tokenizer.encode
        folder = staging / "onnx"
        folder.mkdir()
        rows = prompts(encode, checkpoint.config.vocab_size, checkpoint.config.n_positions)
        make = _make_with_optimum if options.backend == "optimum" else _make
        errors, hashes, report = make(checkpoint, folder, options, encode, rows, progress)
        manifest = {
            "format": 1,
            "source": _origin(checkpoint, source, adapter),
            **asdict(options),
            **({"long_step_from": LONG_STEP} if options.kv == "int8" else {}),
            "tools": TOOLS,
            "passes": errors,
            "parity": report,
            "tokenization": asdict(tokenization),
            "files": _files(staging, hashes),
        }
        (staging / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return manifest


def _fetched(source: AnySource) -> Source:
    if callable(source):
        return source()
    return source if isinstance(source, Source) else Source(source, source.resolve().name)


def _other_base(checkpoint: Checkpoint, source: Source) -> Iterator[str]:
    """A sentence where the adapter names another model on the hub than the one it goes into."""
    named = checkpoint.adapter.base if checkpoint.adapter else ""
    known = ALIASES.get(named, named)
    if source.revision is not None and is_hub_name(known) and known != source.name:
        yield f"the adapter was made for {known}, not for {source.name}."


def _origin(checkpoint: Checkpoint, source: Source, adapter: Source | None) -> dict[str, Any]:
    """The manifest's word on where the weights come from."""
    said: dict[str, Any] = {"name": source.name, "revision": source.revision}
    said["sha256"] = checkpoint.sha256()
    if adapter:
        named = {"name": adapter.name, "revision": adapter.revision}
        said["adapter"] = named | {"sha256": checkpoint.adapter_sha256()}
    return said


Made = tuple[dict[str, Any], dict[str, str], dict[str, Any]]
"""The passes' errors, hashes of files already known, and the parity report."""


def _make(
    checkpoint: Checkpoint,
    folder: Path,
    options: ExportOptions,
    encode: Callable[[str], list[int]],
    rows: list[list[int]],
    progress: Callable[[Progress], None],
) -> Made:
    graphs = write_graphs(
        checkpoint, folder, options, encode, lambda n, of: progress(Progress("weights", n, of))
    )
    report = check_parity(
        checkpoint, graphs.models, folder, rows, options.tolerance,
        lambda n, of: progress(Progress("check", n, of)),
    )  # fmt: skip
    return dict(graphs.errors), {f"onnx/{graphs.weights_name}": graphs.weights_sha256}, report


def _make_with_optimum(
    checkpoint: Checkpoint,
    folder: Path,
    options: ExportOptions,
    encode: Callable[[str], list[int]],
    rows: list[list[int]],
    progress: Callable[[Progress], None],
) -> Made:
    name, digest = write_optimum_graph(checkpoint.folder, folder)
    walk = partial(run_whole, folder / "model.onnx", checkpoint.config)
    report = compare(
        checkpoint, {"portable": walk}, rows, options.tolerance,
        lambda n, of: progress(Progress("check", n, of)),
    )  # fmt: skip
    return {}, {f"onnx/{name}": digest}, report


def _check_supported(checkpoint: Checkpoint) -> None:
    name = checkpoint.config.activation_function
    if name not in ACTIVATIONS:
        raise CheckpointError(
            f"activation_function {name!r} is not supported; these are: {', '.join(ACTIVATIONS)}."
        )


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
