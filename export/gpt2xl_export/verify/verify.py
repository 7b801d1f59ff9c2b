"""Check a bundle again, long after its export: its files, its graphs, its numbers."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.bundle.manifest import MANIFEST
from gpt2xl.errors import BundleError, CheckpointError, Gpt2xlError, Gpt2xlWarning, first_line
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.check.parity import compare
from gpt2xl_export.tokenizer.plain_bpe import PlainTokenizer
from gpt2xl_export.tokenizer.source_tokenizer import read_source_tokenizer
from gpt2xl_export.tokenizer.tokenization import check_tokenization
from gpt2xl_export.verify.agreement import check_agreement
from gpt2xl_export.verify.contract import check_onnx, check_ports, check_sums, check_weights
from gpt2xl_export.verify.published import check_continuations, check_scores, check_tables
from gpt2xl_export.verify.subject import Skip, Subject


@dataclass(frozen=True)
class Check:
    """What came of one check."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    detail: str
    """What was found, what is wrong, or why it was not done."""


def verify(
    folder: Path, source: Path | None = None, adapter: Path | None = None
) -> Iterator[Check]:
    """Check the bundle in ``folder``, cheapest first; after a failure the rest is skipped.

    Args:
        folder: what `gpt2xl export` wrote.
        source: the checkpoint it was made from, to compare the numbers with.
        adapter: the adapter that was merged into it, where there was one.

    Yields:
        Each check when it is done. Parity holds one layer in memory, published outputs the model.

    Raises:
        BundleError: ``folder`` is no folder.
    """
    if not os.path.isdir(folder):
        raise BundleError(f"'{folder}' is not a folder.")
    failed = None
    for name, run in _checks(Subject(folder, source, adapter)).items():
        check = Check(name, "skipped", f"{failed} failed") if failed else _outcome(name, run)
        failed = name if check.status == "failed" else failed
        yield check
        if name == "published" and check.status != "ok":
            return


def _outcome(name: str, run: Callable[[], str]) -> Check:
    try:
        return Check(name, "ok", run())
    except Skip as reason:
        return Check(name, "skipped", str(reason))
    except Gpt2xlError as reason:
        return Check(name, "failed", str(reason))
    except MemoryError:
        raise
    except Exception as reason:  # what onnxruntime, onnx_ir and numpy make of a broken bundle
        return Check(name, "failed", f"{type(reason).__name__}: {first_line(reason)}")


def _checks(subject: Subject) -> dict[str, Callable[[], str]]:
    """Every check by name, in order."""

    def replay(kind: str, check: Callable[..., str]) -> str:
        if not (records := getattr(subject.published, kind)):
            raise Skip(f"there are none of {subject.published.name}")
        return check(records, subject.session, subject.exact)

    return {
        "sums": lambda: _check_sums(subject),
        "tokenization": lambda: _check_tokenization(subject),
        "graphs": lambda: _check_graphs(subject),
        "parity": lambda: _check_graph_parity(subject),
        "source sums": lambda: _check_source_sums(subject),
        "source parity": lambda: _check_source_parity(subject),
        "published": lambda: _check_published(subject),
        "continuations": lambda: replay("continuations", check_continuations),
        "tables": lambda: replay("tables", check_tables),
        "scores": lambda: replay("scores", check_scores),
    }


def _check_sums(subject: Subject) -> str:
    if not subject.manifest:
        raise Skip(f"there is no {MANIFEST}: somebody else's export")
    count, size = check_sums(subject.folder, subject.manifest)
    return f"{count} files, {size / 1e6:.1f} MB, as in the manifest"


def _check_tokenization(subject: Subject) -> str:
    folder = subject.source or subject.folder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Gpt2xlWarning)  # the export has said it
        expected = read_source_tokenizer(folder, subject.bundle.config.n_positions)
    tokenizer = Tokenizer.from_file(subject.bundle.tokenizer)
    report = check_tokenization(PlainTokenizer(expected.content), tokenizer)
    known = subject.manifest and subject.manifest.tokenization
    if known and known.strings_sha256 == report.strings_sha256 and known != report:
        raise BundleError(f"'{MANIFEST}' was written with a tokenizer that gave other ids.")
    files = "the source's files, read again" if subject.source else "the bundle's tokenizer.json"
    return f"{report.strings} strings, {report.tokens} tokens: as an independent BPE on {files}"


def _check_graphs(subject: Subject) -> str:
    for kind, path in subject.graphs.items():
        model = subject.models[kind]
        try:
            check_weights(model, path.parent)
            check_onnx(path)
            check_ports(model, subject.bundle.config, kind)
        except BundleError as reason:
            raise BundleError(f"'{path.name}': {reason}") from None
    names = " and ".join(path.name for path in subject.graphs.values())
    return f"{names}: valid ONNX, inputs and outputs as config.json asks, weights inside the bundle"


def _check_graph_parity(subject: Subject) -> str:
    walks = subject.walks
    if "portable" not in walks:
        raise Skip("there is no portable graph to compare with")
    worst = check_agreement(walks, subject.rows(), subject.tolerance)
    return f"{' and '.join(walks)}, whole and stepwise: relative logit difference {worst:.2g}"


def _check_source_sums(subject: Subject) -> str:
    checkpoint, wanted = subject.checkpoint, subject.origin.sha256
    if wanted is None:
        raise Skip(f"{MANIFEST} does not say what the source's sums were")
    found = checkpoint.sha256()
    _compare_sums(found, wanted, f"'{subject.source}' is not the source")
    adapter, merged = checkpoint.adapter, subject.origin.adapter
    if merged and not adapter:
        raise CheckpointError(f"an adapter was merged ({merged.name}): give it as `--adapter`.")
    if adapter and not merged:
        raise CheckpointError(f"no adapter was merged: leave out '{subject.adapter}'.")
    if adapter and merged:
        _compare_sums(
            checkpoint.adapter_sha256(),
            merged.sha256 or {},
            f"'{subject.adapter}' is not the adapter",
        )
        found |= checkpoint.adapter_sha256()
    return f"{', '.join(found)}: what the bundle was made from"


def _compare_sums(found: dict[str, str], wanted: Mapping[str, str], otherwise: str) -> None:
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if names:
        raise CheckpointError(f"{otherwise}: {', '.join(names)} differs.")


def _check_source_parity(subject: Subject) -> str:
    checkpoint, walks = subject.checkpoint, subject.walks
    if _computed(checkpoint.config) != _computed(subject.bundle.config):
        raise CheckpointError(f"'{subject.source}' has another config.json than the bundle.")
    report = compare(checkpoint, walks, subject.rows(), subject.tolerance, lambda *_: None)
    found = [report[kind][mode] for kind in walks for mode in ("whole", "stepwise")]
    largest = max(figures["max_abs_logit_diff"] for figures in found)
    kl = max(figures["mean_kl"] for figures in found)
    return (
        f"a numpy forward pass of the source: largest logit difference {largest:.2g}, KL {kl:.2g}"
    )


def _computed(config: GPT2Config) -> GPT2Config:
    """``config`` less what decides when to stop."""
    return replace(config, bos_token_id=None, eos_token_id=None)


def _check_published(subject: Subject) -> str:
    known = subject.published
    for key, value in known.config.items():
        if (found := getattr(subject.bundle.config, key)) != value:
            raise BundleError(
                f"'{MANIFEST}' names {subject.origin.name!r}, but {key} is {found}, {known.name}'s is {value}."
            )
    kinds = ("continuations", "tables", "scores")
    counts = ", ".join(f"{len(getattr(known, kind))} {kind}" for kind in kinds)
    return f"of {known.name} there are {counts}"
