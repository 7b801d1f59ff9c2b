"""Run an export from a command: import the exporter, download, show progress."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from gpt2xl_cli.progress import ProgressBars
from gpt2xl_cli.signals import cleaning_up

if TYPE_CHECKING:
    from gpt2xl_export.export import Progress
    from gpt2xl_export.output.graphs import ExportOptions
    from gpt2xl_export.source.hub import Plan


@contextmanager
def missing_extra_explained() -> Iterator[None]:
    """Turn a failing import of the exporter into an ExportError that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as missing:
        from gpt2xl import ExportError

        raise ExportError(
            f"exporting needs `pip install 'gpt2xl[export]'` ({missing.name} is not installed)."
        ) from None


def run_export(
    source: str,
    out: Path,
    options: "ExportOptions",
    *,
    adapter: str | None = None,
    revision: str | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Download what is missing, export, and show progress bars; returns the manifest."""
    with missing_extra_explained():
        from gpt2xl_export.export import export as export_bundle
        from gpt2xl_export.source.sources import resolve

    bars = ProgressBars()
    download = partial(resolve, announce=_announce_download, show_progress=bars.is_shown)
    merged = None if adapter is None else partial(download, adapter, adapter=True)

    def show(progress: "Progress") -> None:
        bars.show(progress.stage, progress.done, progress.total)

    with cleaning_up(), bars, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the parity check reports overflows
        fetch = partial(download, source, revision)
        return export_bundle(fetch, out, options, adapter=merged, force=force, progress=show)


def _announce_download(plan: "Plan") -> None:
    then = (
        "."
        if plan.adapter
        else "; the bundle exported from it takes at most as much disk space as float32 weights"
        " (int8: a quarter of that)."
    )
    typer.echo(
        f"Downloading {plan.repo_id}: {plan.download_size / 1e6:.0f} MB of"
        f" {plan.total_size / 1e6:.0f} MB are not in the cache yet{then}",
        err=True,
    )
