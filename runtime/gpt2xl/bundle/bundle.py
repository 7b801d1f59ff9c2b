"""The files of a bundle folder; docs/bundle.md describes them."""

import os
from dataclasses import dataclass
from pathlib import Path

from gpt2xl.bundle.config import GPT2Config, read_config
from gpt2xl.bundle.hints import did_you_mean, is_lfs_pointer, lfs_hint, no_bundle
from gpt2xl.bundle.manifest import Manifest, read_manifest
from gpt2xl.errors import BundleError

TEXT_GRAPHS = {"ids": "ids_to_text", "string": "text_to_text"}
"""Begin the names of the graphs that hold the whole generation, by what the prompt is."""


@dataclass(frozen=True)
class Bundle:
    """The files of one bundle: its config and at least one graph."""

    folder: Path
    config: GPT2Config
    engine: Path | None
    """Graph that writes the KV cache in place."""
    portable: Path | None
    """Graph that returns the KV cache as new tensors."""
    manifest: Manifest | None
    """gpt2xl.json; None when somebody else exported the folder."""

    @property
    def is_float32(self) -> bool:
        """Whether the manifest says that all weights and the KV cache are float32."""
        return self.manifest is not None and self.manifest.is_float32

    @property
    def long_step_from(self) -> int | None:
        """``Manifest.long_step_from``; None where there is no manifest."""
        return self.manifest.long_step_from if self.manifest else None

    @property
    def tokenizer(self) -> Path:
        """The tokenizer.json."""
        return self.folder / "tokenizer.json"

    @property
    def graph(self) -> Path:
        """The graph to run: the engine's where there is one."""
        graph = self.engine or self.portable
        assert graph is not None
        return graph

    @property
    def text_graphs(self) -> dict[str, Path]:
        """The graphs that hold the whole generation, by what the prompt is: "ids" or "string"."""
        found = {kind: _only(self.folder, f"{stem}*.onnx") for kind, stem in TEXT_GRAPHS.items()}
        return {kind: path for kind, path in found.items() if path}

    @property
    def weights_size(self) -> int:
        """Bytes of `graph` and of the data file that it is known to have."""
        listed = self.manifest.files if self.manifest else {}
        files = [self.folder / name for name in listed if name.endswith(".onnx_data")]
        if not files:  # somebody else's export
            files = [self.graph.with_name(self.graph.name + end) for end in ("_data", ".data")]
        return sum(path.stat().st_size for path in (self.graph, *files) if os.path.isfile(path))


def open_bundle(folder: Path) -> Bundle:
    """Read the config and the manifest in ``folder`` and find its graphs, without loading them.

    Raises:
        BundleError: no such folder, no graph, or a file whose size is not the manifest's.
    """
    if not os.path.isdir(folder):
        raise BundleError(f"'{folder}' is not a folder{did_you_mean(str(folder))}")
    if not any([*folder.glob("*.onnx"), *folder.glob("*/*.onnx")]):
        raise BundleError(no_bundle(folder))
    config = read_config(folder, BundleError)
    manifest = read_manifest(folder)
    if manifest:
        _check_sizes(folder, manifest)
    engine, portable = _only(folder, "engine*.onnx"), _only(folder, "model*.onnx")
    if engine is None and portable is None:
        raise BundleError(f"'{folder}' holds neither onnx/engine*.onnx nor onnx/model*.onnx.")
    return Bundle(folder, config, engine, portable, manifest)


def _check_sizes(folder: Path, manifest: Manifest) -> None:
    for name, entry in manifest.files.items():
        path = folder / name
        if not os.path.isfile(path):
            raise BundleError(f"'{path}' is missing: the bundle is incomplete, export it again.")
        if path.stat().st_size != entry.size:
            if is_lfs_pointer(path):
                raise BundleError(lfs_hint(path))
            raise BundleError(
                f"'{path}' has {path.stat().st_size} bytes, the manifest says {entry.size}:"
                " the file is cut short or changed, export it again."
            )


def _only(folder: Path, pattern: str) -> Path | None:
    found = sorted([*folder.glob(pattern), *(folder / "onnx").glob(pattern)])
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise BundleError(
            f"'{folder}' holds several graphs ({names}): keep one precision per folder."
        )
    return found[0] if found else None
