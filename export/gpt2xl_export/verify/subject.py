"""A bundle under test: what its checks read, each part at first need."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import onnx_ir as ir

from gpt2xl.bundle.bundle import Bundle, open_bundle
from gpt2xl.bundle.manifest import MANIFEST, Manifest, Origin, read_manifest
from gpt2xl.errors import BundleError
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.options import LoadOptions
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.check.layerwise import run_pieces, run_whole
from gpt2xl_export.check.parity import Tolerance, Walk, prompts
from gpt2xl_export.output.graphs import ExportOptions
from gpt2xl_export.recipes import RECIPES
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.verify.contract import follow_links, read_graph
from gpt2xl_export.verify.published import Published, published


class Skip(Exception):  # noqa: N818 no error
    """Why a check is not done."""


@dataclass(frozen=True)
class Subject:
    """The bundle and its source, each part read at first need."""

    folder: Path
    source: Path | None
    adapter: Path | None = None

    @cached_property
    def manifest(self) -> Manifest | None:
        """gpt2xl.json; None when there is none."""
        return read_manifest(self.folder)

    @property
    def origin(self) -> Origin:
        """The manifest's word on the source."""
        return (self.manifest and self.manifest.source) or Origin()

    @cached_property
    def bundle(self) -> Bundle:
        """The folder, opened by the runtime."""
        return open_bundle(self.folder)

    @property
    def graphs(self) -> Mapping[str, Path]:
        """By kind, "portable" and "engine", those that are there."""
        found = {"portable": self.bundle.portable, "engine": self.bundle.engine}
        return {kind: path for kind, path in found.items() if path is not None}

    @cached_property
    def models(self) -> dict[str, ir.Model]:
        """Graphs without their weights; only checked ones may be run."""
        return {kind: read_graph(path) for kind, path in self.graphs.items()}

    @cached_property
    def walks(self) -> dict[str, Walk]:
        """Ways through the graphs, layer by layer where gpt2xl built them."""
        if not self.manifest:
            raise Skip(f"there is no {MANIFEST} to say how exact it is")
        config, folder, graphs = self.bundle.config, self.onnx_folder, self.graphs
        if self.manifest.backend != "gpt2xl":
            return {kind: partial(run_whole, path, config) for kind, path in graphs.items()}
        return {
            kind: partial(run_pieces, model, kind, config, follow_links(model, folder))
            for kind, model in self.models.items()
        }

    @property
    def onnx_folder(self) -> Path:
        """Where graphs and weights are."""
        return next(iter(self.graphs.values())).parent

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The opened source."""
        if self.source is None:
            raise Skip("no --source was given")
        return open_checkpoint(self.source, self.adapter)

    @property
    def exact(self) -> bool:
        """Whether nothing is quantized."""
        return self.manifest is None or self.manifest.is_float

    @property
    def tolerance(self) -> Tolerance:
        """What the graphs may differ by."""
        found = self.manifest
        if found is None or found.is_float:
            return Tolerance(relative_logit_diff=1e-3)
        precision = found.precision or "fp32"
        if precision not in RECIPES:
            raise BundleError(f"'{MANIFEST}' has precision {precision!r}, which is unknown.")
        return ExportOptions(precision, kv=found.kv, keep=found.keep).tolerance

    def rows(self) -> list[list[int]]:
        """Prompts to compare with, ids."""
        config, tokenizer = self.bundle.config, Tokenizer.from_file(self.bundle.tokenizer)
        return prompts(tokenizer.encode, config.vocab_size, config.n_positions)

    @cached_property
    def published(self) -> Published:
        """Known outputs of the model that the manifest names."""
        name = self.origin.name
        if self.origin.adapter:
            raise Skip(f"no outputs are known of {name!r} with an adapter")
        if (found := published(name)) is None:
            raise Skip(f"no outputs are known of the model {name!r}")
        return found

    @cached_property
    def session(self) -> Session:
        """The whole model, loaded."""
        return open_session(self.bundle, LoadOptions(provider="cpu"))
