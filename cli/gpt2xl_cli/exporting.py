"""Run an export from a command: name a missing extra, announce downloads, show progress."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt2xl_cli.progress import ProgressBars
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_line

if TYPE_CHECKING:
    from gpt2xl_export import ExportOptions
    from gpt2xl_export.source.hub import Plan


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
) -> dict[str, Any]:
    """Download what is missing and export it; returns the manifest."""
    with missing_extra_explained():
        from gpt2xl_export.exporting import export
        from gpt2xl_export.source.sources import resolve

    with export_shown() as bars:
        download = partial(resolve, announce=_announce, show_progress=bars.is_shown)
        return export(
            partial(download, source, revision),
            out,
            options,
            adapter=None if adapter is None else partial(download, adapter, adapter=True),
            calibration=calibration,
            force=force,
            progress=bars.show_export,
        )


@contextmanager
def export_shown() -> Iterator[ProgressBars]:
    """Let signals stop the export in the block so that it cleans up, and show its progress."""
    with cleaning_up(), ProgressBars() as bars, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the parity check reports overflows
        yield bars


def show_note(note: str) -> None:
    """Print a line about an export on stderr."""
    echo_line(note, err=True)


def _announce(plan: "Plan") -> None:
    from gpt2xl_export.named_models import download_note

    show_note(download_note(plan))
