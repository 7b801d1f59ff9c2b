"""gpt2xl export."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpt2xl_cli.options import Force, Json

if TYPE_CHECKING:
    from gpt2xl_export.export import Progress


def export(
    source: Annotated[
        Path, typer.Argument(help="Hugging Face GPT-2 folder (safetensors).", show_default=False)
    ],
    out: Annotated[Path, typer.Argument(help="Bundle folder to create.", show_default=False)],
    *,
    precision: Annotated[str, typer.Option("--precision", "-p", help="What the weights become.")] = "fp32",  # fmt: skip
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn a checkpoint into an ONNX bundle, and check it against the checkpoint."""
    import json

    manifest = run_export(source, out, precision=precision, force=force)
    if as_json:
        typer.echo(json.dumps(manifest))
        return
    whole = manifest["parity"]["engine"]["whole"]
    size = sum(entry["size"] for entry in manifest["files"].values())
    typer.echo(
        f"Wrote {out}: {precision}, {size / 1e6:.1f} MB;"
        f" largest logit difference {whole['max_abs_logit_diff']:.2g}."
    )


def run_export(
    source: Path, out: Path, *, precision: str = "fp32", force: bool = False
) -> dict[str, Any]:
    """Export with a progress bar on stderr, if that is a terminal."""
    try:
        from gpt2xl_export.export import export as export_bundle
    except ModuleNotFoundError as missing:
        from gpt2xl import ExportError

        raise ExportError(
            f"exporting needs `pip install 'gpt2xl[export]'` ({missing.name} is not installed)."
        ) from None
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())  # fmt: skip
    with Bars(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def show(progress: "Progress") -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(progress.stage, total=progress.total)
            bars.update(tasks[progress.stage], completed=progress.done)

        return export_bundle(source, out, precision=precision, force=force, progress=show)
