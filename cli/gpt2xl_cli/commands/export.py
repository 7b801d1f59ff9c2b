"""gpt2xl export."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gpt2xl_cli.options import Force, Json, warnings_collected
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_line

if TYPE_CHECKING:
    from gpt2xl_export.exporting import Progress
    from gpt2xl_export.options import ExportOptions
    from gpt2xl_export.source.hub import Plan


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="Hugging Face GPT-2 folder, or a model on the hub: gpt2-xl, owner/name.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Bundle folder to create.", show_default=False)],
    *,
    precision: Annotated[
        str,
        typer.Option("--precision", "-p", help="fp32, fp16, int8, int8-weight, int4 or int4-fp16."),
    ] = "fp32",
    block_size: Annotated[int, typer.Option(help="Weights that share a scale in int4.")] = 64,
    kv: Annotated[
        Literal["auto", "float", "int8"],
        typer.Option(
            help="How the engine graph keeps its KV cache; auto: int8 beside quantized weights."
        ),
    ] = "auto",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Another format for some weights, such as fp32:h.0.*; may be given again.",
            metavar="FORMAT:PATTERN",
        ),
    ] = None,
    rounding: Annotated[
        Literal["auto", "gptq", "nearest"],
        typer.Option(help="How int4 picks codes; auto: gptq, or what the model was trained for."),
    ] = "auto",
    backend: Annotated[
        Literal["gpt2xl", "optimum"], typer.Option(help="Who builds the graph.")
    ] = "gpt2xl",
    adapter: Annotated[
        str | None,
        typer.Option(
            help="PEFT LoRA adapter to merge into the model: its folder, or owner/name on the hub.",
            metavar="ADAPTER",
            show_default=False,
        ),
    ] = None,
    revision: Annotated[
        str | None,
        typer.Option(help="Branch, tag or commit of SOURCE on the hub.", show_default=False),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Turn a checkpoint into an ONNX bundle, and check it against the checkpoint."""
    import json

    with missing_extra_explained():
        from gpt2xl_export.options import ExportOptions

    options = ExportOptions(precision, block_size, kv, tuple(keep or ()), backend, rounding)
    run = partial(run_export, source, out, options, adapter=adapter, revision=revision, force=force)
    if as_json:
        typer.echo(json.dumps(run()))
        return
    with warnings_collected() as warned:  # what was left out is part of the summary
        manifest = run()
    echo_line(_summary(out, manifest))
    for message in warned:
        echo_line(f"warning: {message}")


def _summary(out: Path, manifest: dict[str, Any]) -> str:
    parity = manifest["parity"]
    whole = parity.get("engine", parity["portable"])["whole"]
    size = sum(entry["size"] for entry in manifest["files"].values())
    return (
        f"Wrote {out}: {manifest['precision']}, {size / 1e6:.1f} MB;"
        f" largest logit difference {whole['max_abs_logit_diff']:.2g}, KL {whole['mean_kl']:.2g}."
    )


@contextmanager
def missing_extra_explained() -> Iterator[None]:
    """Turn a failing import of the exporter into one line that names the extra."""
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
    """Download if need be, and export with a progress bar on stderr, if that is a terminal."""
    with missing_extra_explained():
        from gpt2xl_export.exporting import export as export_bundle
        from gpt2xl_export.source.sources import Source, resolve
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    download = partial(resolve, announce=_announce, show_progress=console.is_terminal)
    merged = None if adapter is None else partial(download, adapter, adapter=True)
    columns = (TextColumn("{task.description:8}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())  # fmt: skip
    bars = Bars(*columns, console=console, transient=True, disable=not console.is_terminal)

    # What overflows shows up in the parity check; numpy's warnings would spoil the one line.
    with cleaning_up(), ExitStack() as shown, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        tasks: dict[str, Any] = {}

        def fetch() -> Source:  # a download shows bars of its own before
            found = download(source, revision)
            shown.enter_context(bars)
            return found

        def show(progress: "Progress") -> None:
            if progress.stage not in tasks:
                tasks[progress.stage] = bars.add_task(progress.stage, total=progress.total)
            bars.update(tasks[progress.stage], completed=progress.done)

        return export_bundle(fetch, out, options, adapter=merged, force=force, progress=show)


def _announce(plan: "Plan") -> None:
    typer.echo(
        f"Downloading {plan.repo_id}: {plan.download_size / 1e6:.0f} MB of"
        f" {plan.total_size / 1e6:.0f} MB are not in the cache yet"
        + (
            "."
            if plan.adapter
            else "; then exporting it, which writes no more than float32 weights take"
            " (int8: a quarter of that)."
        ),
        err=True,
    )
