"""Check a bundle at any time after its export: its files, its graphs, its numbers."""

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from gpt2xl.bundle.bundle import TEXT_GRAPHS
from gpt2xl.bundle.config import GPT2Config
from gpt2xl.bundle.manifest import MANIFEST
from gpt2xl.errors import (
    BundleError,
    CheckpointError,
    Gpt2xlError,
    Gpt2xlWarning,
    counted,
    first_line,
)
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.check.parity import compare
from gpt2xl_export.progress import Progress
from gpt2xl_export.tokenizer.plain_bpe import PlainTokenizer
from gpt2xl_export.tokenizer.source_tokenizer import read_source_tokenizer
from gpt2xl_export.tokenizer.tokenization import check_tokenization
from gpt2xl_export.verification.agreement import check_agreement
from gpt2xl_export.verification.bundle_under_test import BundleUnderTest, Skip
from gpt2xl_export.verification.contract import check_onnx, check_ports, check_sums, check_weights
from gpt2xl_export.verification.replay import check_continuations, check_scores, check_tables
from gpt2xl_export.verification.text_graphs import check_form, check_texts, names_of


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    status: Literal["ok", "failed", "skipped"]
    detail: str
    """What was found, what is wrong, or why it was not done."""


def verify(
    folder: str | Path,
    source: str | Path | None = None,
    adapter: str | Path | None = None,
    *,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Iterator[Check]:
    """Check the bundle in ``folder``, cheapest check first; after a failure the rest is skipped.

    Args:
        folder: the bundle.
        source: folder of the checkpoint it was made from, to compare the numbers with.
        adapter: folder of the adapter that was merged into it, if any.
        progress: called when a check begins and often during the long ones, with the check's name as the stage.

    Yields:
        Each check as soon as it is done. Parity checks hold one layer in memory, those of text graphs
        and of published outputs the whole model. "text" is left out where there are no text graphs.

    Raises:
        BundleError: ``folder`` is not a folder.

    Example::

        failed = [check for check in verify("my-gpt2-xl") if check.status == "failed"]
    """
    if not os.path.isdir(folder):
        raise BundleError(f"'{folder}' is not a folder.")
    tested = BundleUnderTest(Path(folder), _path(source), _path(adapter), progress)
    failed = None
    for name, run in CHECKS.items():
        if name == "text" and not any(tested.folder.glob(f"onnx/{TEXT_GRAPHS['ids']}*")):
            continue
        check = Check(name, "skipped", f"{failed} failed") if failed else _run(name, run, tested)
        failed = name if check.status == "failed" else failed
        yield check
        if name == "published" and check.status != "ok":
            return


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)


def _run(name: str, run: Callable[[BundleUnderTest], str], tested: BundleUnderTest) -> Check:
    tested.counter(name)(0, 0)
    try:
        return Check(name, "ok", run(tested))
    except Skip as reason:
        return Check(name, "skipped", str(reason))
    except Gpt2xlError as reason:
        return Check(name, "failed", str(reason))
    except MemoryError:
        raise
    except Exception as reason:  # onnxruntime, onnx_ir and numpy raise anything for a broken bundle
        return Check(name, "failed", f"{type(reason).__name__}: {first_line(reason)}")


def _sums(tested: BundleUnderTest) -> str:
    if not tested.manifest:
        raise Skip(f"there is no {MANIFEST}: gpt2xl did not export this bundle")
    count, size = check_sums(tested.folder, tested.manifest, tested.counter("sums", "B"))
    return f"{counted(count, 'file')}, {size / 1e6:.1f} MB, as in the manifest"


def _tokenization(tested: BundleUnderTest) -> str:
    folder = tested.source or tested.folder
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Gpt2xlWarning)  # the export has shown them
        expected = read_source_tokenizer(folder, tested.bundle.config.n_positions)
    tokenizer = Tokenizer.from_file(tested.bundle.tokenizer)
    report = check_tokenization(PlainTokenizer(expected.content), tokenizer)
    known = tested.manifest and tested.manifest.tokenization
    if known and known.strings_sha256 == report.strings_sha256 and known != report:
        raise BundleError(f"'{MANIFEST}' was written with a tokenizer that gave other ids.")
    files = "the source's files, read again" if tested.source else "the bundle's tokenizer.json"
    return f"{report.strings} strings, {report.tokens} tokens: as an independent BPE on {files}"


def _graphs(tested: BundleUnderTest) -> str:
    for kind, path in tested.graphs.items():
        model = tested.models[kind]
        try:
            check_weights(model, path.parent)
            check_onnx(path)
            check_ports(model, tested.bundle.config, kind)
        except BundleError as reason:
            raise BundleError(f"'{path.name}': {reason}") from None
    names = " and ".join(path.name for path in tested.graphs.values())
    return f"{names}: valid ONNX, inputs and outputs as config.json asks, weights inside the bundle"


def _parity(tested: BundleUnderTest) -> str:
    runners = tested.runners
    if "portable" not in runners:
        raise Skip("there is no portable graph to compare with")
    report, parts = tested.counter("parity"), tested.bundle.config.n_layer + 2
    worst = check_agreement(runners, tested.prompts(), tested.tolerance, report, parts)
    return f"{' and '.join(runners)}, whole, stepwise and a page: relative logit difference {worst:.2g}"


def _text(tested: BundleUnderTest) -> str:
    graphs = tested.bundle.text_graphs
    names = names_of(graphs)
    for kind, path in graphs.items():
        try:
            check_form(path, kind)
        except BundleError as reason:
            raise BundleError(f"'{path.name}': {reason}") from None
    tokenizer = Tokenizer.from_file(tested.bundle.tokenizer)
    found = check_texts(graphs["ids"], tested.prompts().short, tested.session, tokenizer)
    return f"{names}: valid ONNX; from ids {found}"


def _source_sums(tested: BundleUnderTest) -> str:
    checkpoint, wanted = tested.checkpoint, tested.origin.sha256
    if wanted is None:
        raise Skip(f"{MANIFEST} has no sums of the source")
    found = checkpoint.sha256(tested.counter("source sums", "B"))
    _compare_sums(found, wanted, f"'{tested.source}' is not the source")
    adapter, merged = checkpoint.adapter, tested.origin.adapter
    if merged and not adapter:
        raise CheckpointError(f"an adapter was merged ({merged.name}): give it as `--adapter`.")
    if adapter and not merged:
        raise CheckpointError(f"no adapter was merged: leave out '{tested.adapter}'.")
    if merged:
        of_adapter = checkpoint.adapter_sha256()
        _compare_sums(of_adapter, merged.sha256 or {}, f"'{tested.adapter}' is not the adapter")
        found |= of_adapter
    return f"{', '.join(found)}: as when the bundle was made"


def _compare_sums(found: Mapping[str, str], wanted: Mapping[str, str], otherwise: str) -> None:
    names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
    if names:
        raise CheckpointError(f"{otherwise}: {', '.join(names)} differs.")


def _source_parity(tested: BundleUnderTest) -> str:
    checkpoint, runners = tested.checkpoint, tested.runners
    if _without_special_ids(checkpoint.config) != _without_special_ids(tested.bundle.config):
        raise CheckpointError(f"'{tested.source}' has another config.json than the bundle.")
    count = tested.counter("source parity", "B")
    report = compare(checkpoint, runners, tested.prompts(), tested.tolerance, count)
    found = [report[kind][mode] for kind in runners for mode in ("whole", "stepwise", "page")]
    largest = max(figures["max_abs_logit_diff"] for figures in found)
    kl = max(figures["mean_kl"] for figures in found)
    return (
        f"a numpy forward pass of the source: largest logit difference {largest:.2g}, KL {kl:.2g}"
    )


def _without_special_ids(config: GPT2Config) -> GPT2Config:
    """``config`` without the ids that do not change a logit."""
    return replace(config, bos_token_id=None, eos_token_id=None)


def _published(tested: BundleUnderTest) -> str:
    known = tested.published
    for key, value in known.config.items():
        if (found := getattr(tested.bundle.config, key)) != value:
            raise BundleError(
                f"'{MANIFEST}' names {tested.origin.name!r}, but {key} is {found},"
                f" {known.name}'s is {value}."
            )
    return (
        f"of {known.name} there are {len(known.continuations)} continuations,"
        f" {len(known.tables)} tables and {len(known.scores)} scores"
    )


def _continuations(tested: BundleUnderTest) -> str:
    records = tested.published.continuations
    _skip_if_none(records, tested)
    return check_continuations(
        records, tested.session, tested.is_exact, tested.counter("continuations")
    )


def _tables(tested: BundleUnderTest) -> str:
    records = tested.published.tables
    _skip_if_none(records, tested)
    return check_tables(records, tested.session, tested.is_exact, tested.counter("tables"))


def _scores(tested: BundleUnderTest) -> str:
    records = tested.published.scores
    _skip_if_none(records, tested)
    return check_scores(records, tested.session, tested.is_exact, tested.counter("scores"))


def _skip_if_none(records: Sized, tested: BundleUnderTest) -> None:
    if len(records) == 0:
        raise Skip(f"none have been published for {tested.published.name}")


CHECKS: Mapping[str, Callable[[BundleUnderTest], str]] = {
    "sums": _sums,
    "tokenization": _tokenization,
    "graphs": _graphs,
    "parity": _parity,
    "text": _text,
    "source sums": _source_sums,
    "source parity": _source_parity,
    "published": _published,
    "continuations": _continuations,
    "tables": _tables,
    "scores": _scores,
}
"""By name, cheapest first; those after "published" need published outputs."""
