"""Check a bundle again, long after its export: its files, its graphs, its numbers."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx_ir as ir

from gpt2xl.bundle import MANIFEST, Bundle, open_bundle
from gpt2xl.config import GPT2Config, read_json
from gpt2xl.errors import BundleError, CheckpointError, Gpt2xlError
from gpt2xl.session import Session, open_best
from gpt2xl.tokenizer import Tokenizer
from gpt2xl_export.agreement import check_agreement
from gpt2xl_export.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.contract import check_ports, check_sums, check_weights, read_graph
from gpt2xl_export.parity import Tolerance, check_parity, prompts
from gpt2xl_export.published import (
    Published,
    check_continuations,
    check_scores,
    check_tables,
    published,
)
from gpt2xl_export.recipes import RECIPES


@dataclass(frozen=True)
class Check:
    """What came of one check."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    detail: str
    """What was found, what is wrong, or why it was not done."""


class _Skip(Exception):  # noqa: N818 no error
    """Why a check is not done."""


def verify(folder: Path, source: Path | None = None) -> Iterator[Check]:
    """Check the bundle in ``folder``, cheapest first; after a failure the rest is skipped.

    Args:
        folder: what `gpt2xl export` wrote.
        source: the checkpoint it was made from, to compare the numbers with.

    Yields:
        Each check when it is done. Parity holds one layer in memory, published outputs the model.

    Raises:
        BundleError: ``folder`` is no folder.
    """
    if not folder.is_dir():
        raise BundleError(f"'{folder}' is not a folder.")
    failed = None
    for name, run in _checks(_Subject(folder, source)).items():
        check = Check(name, "skipped", f"{failed} failed") if failed else _outcome(name, run)
        failed = name if check.status == "failed" else failed
        yield check


def _outcome(name: str, run: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", run())
    except _Skip as reason:
        return Check(name, "skipped", str(reason))
    except Gpt2xlError as reason:
        return Check(name, "failed", str(reason))
    except MemoryError:
        raise
    except Exception as reason:  # what onnxruntime, onnx_ir and numpy make of a broken bundle
        first_line = str(reason).partition("\n")[0]
        return Check(name, "failed", f"{type(reason).__name__}: {first_line}")


@dataclass(frozen=True)
class _Subject:
    """The bundle and its source, each part read at first need."""

    folder: Path
    source: Path | None

    @cached_property
    def manifest(self) -> dict[str, Any]:
        path = self.folder / MANIFEST
        return read_json(path, BundleError) if path.is_file() else {}

    @property
    def origin(self) -> dict[str, Any]:
        """The manifest's word on the source."""
        found = self.manifest.get("source")
        return found if isinstance(found, dict) else {}

    @cached_property
    def bundle(self) -> Bundle:
        return open_bundle(self.folder)

    @property
    def graphs(self) -> Mapping[str, Path]:
        found = {"portable": self.bundle.portable, "engine": self.bundle.engine}
        return {kind: path for kind, path in found.items() if path is not None}

    @cached_property
    def models(self) -> dict[str, ir.Model]:
        """Graphs without their weights; only checked ones may be run."""
        return {kind: read_graph(path) for kind, path in self.graphs.items()}

    @property
    def cuttable(self) -> dict[str, ir.Model]:
        """Graphs that can be run layer by layer."""
        if not self.manifest or self.manifest.get("backend", "gpt2xl") != "gpt2xl":
            raise _Skip("the graphs were not built by gpt2xl")
        return self.models

    @property
    def onnx_folder(self) -> Path:
        return next(iter(self.graphs.values())).parent

    @cached_property
    def checkpoint(self) -> Checkpoint:
        if self.source is None:
            raise _Skip("no --source was given")
        return open_checkpoint(self.source)

    @property
    def exact(self) -> bool:
        """Whether nothing is quantized."""
        lossless = {"precision": "fp32", "kv": "float", "keep": []}
        return all(self.manifest.get(key, value) == value for key, value in lossless.items())

    @property
    def tolerance(self) -> Tolerance:
        if self.exact:
            return Tolerance(relative_logit_diff=1e-3)
        precision = str(self.manifest.get("precision"))
        if precision not in RECIPES:
            raise BundleError(f"'{MANIFEST}' has precision {precision!r}, which is unknown.")
        return Tolerance(
            mean_kl=RECIPES[precision].tolerance.mean_kl or RECIPES["int8"].tolerance.mean_kl
        )

    def rows(self) -> list[list[int]]:
        config, tokenizer = self.bundle.config, Tokenizer.from_file(self.bundle.tokenizer)
        return prompts(tokenizer.encode, config.vocab_size, config.n_positions)

    @cached_property
    def published(self) -> Published:
        """What has to come out of a model of this name; its config is checked."""
        name = str(self.origin.get("name", ""))
        known = published(name)
        if known is None:
            raise _Skip(f"nothing is known of the model {name!r}")
        for key, value in known.config.items():
            if (found := getattr(self.bundle.config, key)) != value:
                raise BundleError(
                    f"made from {name!r}, it says, but its {key} is {found}: {known.name}'s is {value}."
                )
        return known

    @cached_property
    def session(self) -> Session:
        return open_best(self.bundle, "cpu")


def _checks(subject: _Subject) -> dict[str, Callable[[], str]]:
    """Every check by name, in order."""

    def replayed(kind: str, check: Callable[..., str]) -> str:
        if not (records := getattr(subject.published, kind)):
            raise _Skip(f"there are none of {subject.published.name}")
        return check(records, subject.session, subject.exact)

    return {
        "sums": lambda: _check_sums(subject),
        "graphs": lambda: _check_graphs(subject),
        "parity": lambda: _check_graph_parity(subject),
        "source sums": lambda: _check_source_sums(subject),
        "source parity": lambda: _check_source_parity(subject),
        "published continuations": lambda: replayed("continuations", check_continuations),
        "published tables": lambda: replayed("tables", check_tables),
        "published scores": lambda: replayed("scores", check_scores),
    }


def _check_sums(subject: _Subject) -> str:
    if not subject.manifest:
        raise _Skip(f"there is no {MANIFEST}: somebody else's export")
    count, size = check_sums(subject.folder, subject.manifest)
    return f"{count} files, {size / 1e6:.1f} MB, as in the manifest"


def _check_graphs(subject: _Subject) -> str:
    for kind, path in subject.graphs.items():
        model = subject.models[kind]
        try:
            check_weights(model, path.parent)
            onnx.checker.check_model(path)
            check_ports(model, subject.bundle.config, kind)
        except (BundleError, onnx.checker.ValidationError) as reason:
            raise BundleError(f"'{path.name}': {str(reason).splitlines()[0]}") from None
    names = " and ".join(path.name for path in subject.graphs.values())
    return f"{names}: valid ONNX, inputs and outputs as config.json asks, weights inside the bundle"


def _check_graph_parity(subject: _Subject) -> str:
    models, config = subject.cuttable, subject.bundle.config
    if "portable" not in models:
        raise _Skip("there is no portable graph to compare with")
    worst = check_agreement(models, config, subject.onnx_folder, subject.rows(), subject.tolerance)
    return f"{' and '.join(models)}, whole and stepwise: relative logit difference {worst:.2g}"


def _check_source_sums(subject: _Subject) -> str:
    found, wanted = subject.checkpoint.sha256(), subject.origin.get("sha256")
    if not isinstance(wanted, dict):
        raise _Skip(f"{MANIFEST} does not say what the source's sums were")
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if names:
        raise CheckpointError(f"'{subject.source}' is not the source: {', '.join(names)} differs.")
    return f"{', '.join(found)}: what the bundle was made from"


def _check_source_parity(subject: _Subject) -> str:
    checkpoint, models = subject.checkpoint, subject.cuttable
    if _computed(checkpoint.config) != _computed(subject.bundle.config):
        raise CheckpointError(f"'{subject.source}' has another config.json than the bundle.")
    folder, rows = subject.onnx_folder, subject.rows()
    report = check_parity(checkpoint, models, folder, rows, subject.tolerance, lambda *_: None)
    found = [report[kind][mode] for kind in models for mode in ("whole", "stepwise")]
    largest = max(figures["max_abs_logit_diff"] for figures in found)
    kl = max(figures["mean_kl"] for figures in found)
    return (
        f"a numpy forward pass of the source: largest logit difference {largest:.2g}, KL {kl:.2g}"
    )


def _computed(config: GPT2Config) -> GPT2Config:
    """``config`` less what decides when to stop."""
    return replace(config, bos_token_id=None, eos_token_id=None)
