"""Run an export from a command: name a missing extra, announce downloads, show progress."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2xl_cli.progress import ProgressBars
from gpt2xl_cli.signals import cleaning_up, with_detail

if TYPE_CHECKING:
    from gpt2xl_export import ExportOptions
    from gpt2xl_export.source.hub import Plan


# Of a file that is not complete, huggingface_hub 2 keeps nothing.
DOWNLOAD_KEPT = "complete files are kept, the same command continues."


@contextmanager
def missing_extra_explained(what: str = "exporting") -> Iterator[None]:
    """Turn a failing import of the exporter into an ExportError: ``what`` needs the extra."""
    try:
        yield
    except ModuleNotFoundError as missing:
        from gpt2xl import ExportError

        raise ExportError(
            f"{what} needs `pip install 'gpt2xl[export]'` ({missing.name} is not installed)."
        ) from None


def run_export(
    source: str,
    out: Path,
    options: "ExportOptions",
    *,
    adapter: str | None = None,
    revision: str | None = None,
    calibration: Path | None = None,
    force: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Download what is missing and export it; returns the manifest."""
    with missing_extra_explained():
        from gpt2xl_export.exporting import export
        from gpt2xl_export.inventory.registry import remember_export
        from gpt2xl_export.source.sources import resolve

    with export_shown(quiet=quiet, may_download=not os.path.isdir(source)) as bars:
        download = partial(
            resolve,
            announce=partial(_announce, bars, out, options.precision),
            progress=bars.show_export,
        )
        manifest = export(
            partial(download, source, revision),
            out,
            options,
            adapter=None if adapter is None else partial(download, adapter, adapter=True),
            calibration=calibration,
            force=force,
            progress=bars.show_export,
        )
    remember_export(out)
    return manifest


@contextmanager
def export_shown(*, may_download: bool, quiet: bool = False) -> Iterator[ProgressBars]:
    """Let signals stop the export in the block so that it cleans up, and show its progress."""
    told = with_detail(lambda: DOWNLOAD_KEPT) if may_download else nullcontext()
    with cleaning_up(), told, ProgressBars(quiet=quiet) as bars, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the parity check reports overflows
        yield bars


def _announce(bars: ProgressBars, out: Path, precision: str, plan: "Plan") -> None:
    """Say what a download and its bundle need; raises ExportError where a disk is too small."""
    from gpt2xl_export.source.disk_space import DiskNeeds, download_note

    if plan.adapter:
        bars.say(download_note(plan), always=True)
        return
    needs = DiskNeeds(plan, out, precision)
    needs.check()
    bars.say(needs.note(), always=True)
