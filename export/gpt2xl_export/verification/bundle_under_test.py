"""A bundle under test: what its checks read, each part when it is first needed."""

from collections.abc import Callable, Mapping
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
from gpt2xl_export.check.difference import Tolerance
from gpt2xl_export.check.layerwise import GraphRunner, run_by_layer, run_whole
from gpt2xl_export.check.parity import Prompts, prompts
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.progress import Count, Progress
from gpt2xl_export.recipes import RECIPES
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.verification.contract import follow_links, read_graph
from gpt2xl_export.verification.published import Published, published


class Skip(Exception):  # noqa: N818 not an error
    """A check cannot be done; the message says why."""


@dataclass(frozen=True)
class BundleUnderTest:
    """The bundle and its source, each part read when it is first needed."""

    folder: Path
    source: Path | None = None
    """The checkpoint folder it was made from."""
    adapter: Path | None = None
    """The adapter that was merged into it."""
    progress: Callable[[Progress], None] = lambda _: None

    def counter(self, check: str, unit: str = "") -> Count:
        """The function that takes (done, total) of a check; ``unit`` as in `Progress`."""
        return lambda done, total: self.progress(Progress(check, done, total, unit=unit))

    @cached_property
    def manifest(self) -> Manifest | None:
        """gpt2xl.json; None if there is none."""
        return read_manifest(self.folder)

    @property
    def origin(self) -> Origin:
        """What the manifest says of the source."""
        return (self.manifest and self.manifest.source) or Origin()

    @cached_property
    def bundle(self) -> Bundle:
        """The folder, opened by the runtime."""
        return open_bundle(self.folder)

    @property
    def graphs(self) -> Mapping[str, Path]:
        """The graph files that are there, by kind: "portable" and "engine"."""
        found = {"portable": self.bundle.portable, "engine": self.bundle.engine}
        return {kind: path for kind, path in found.items() if path is not None}

    @cached_property
    def models(self) -> dict[str, ir.Model]:
        """The graphs without their weights; check them before you run them."""
        return {kind: read_graph(path) for kind, path in self.graphs.items()}

    @cached_property
    def runners(self) -> dict[str, GraphRunner]:
        """How to run the graphs: layer by layer if gpt2xl built them."""
        if not self.manifest:
            raise Skip(f"there is no {MANIFEST} to say how exact the bundle is")
        config, folder, graphs = self.bundle.config, self.onnx_folder, self.graphs
        if self.manifest.backend != "gpt2xl":
            return {kind: partial(run_whole, path, config) for kind, path in graphs.items()}
        return {
            kind: partial(run_by_layer, model, kind, config, follow_links(model, folder))
            for kind, model in self.models.items()
        }

    @property
    def onnx_folder(self) -> Path:
        """The folder of graphs and weights."""
        return next(iter(self.graphs.values())).parent

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The source, opened."""
        if self.source is None:
            raise Skip("no --source was given")
        return open_checkpoint(self.source, self.adapter)

    @property
    def is_exact(self) -> bool:
        """Whether everything is float32."""
        return self.manifest is None or self.manifest.is_float32

    @property
    def tolerance(self) -> Tolerance:
        """How much the graphs may differ."""
        found = self.manifest
        if found is None or found.is_float32:
            return Tolerance(relative_logit_diff=1e-3)
        precision = found.precision or "fp32"
        if precision not in RECIPES:
            raise BundleError(f"'{MANIFEST}' has the unknown precision {precision!r}.")
        return ExportOptions(precision, kv=found.kv, keep=found.keep).tolerance

    def prompts(self) -> Prompts:
        """What to compare the graphs on."""
        config, tokenizer = self.bundle.config, Tokenizer.from_file(self.bundle.tokenizer)
        return prompts(tokenizer.encode, config.vocab_size, config.n_positions)

    @cached_property
    def published(self) -> Published:
        """Published outputs of the model that the manifest names."""
        name = self.origin.name
        if self.origin.adapter:
            raise Skip(f"no outputs of {name!r} with an adapter have been published")
        if (found := published(name)) is None:
            raise Skip(f"no published outputs of the model {name!r} are known")
        return found

    @cached_property
    def session(self) -> Session:
        """The whole model, loaded."""
        return open_session(self.bundle, LoadOptions(provider="cpu"))
