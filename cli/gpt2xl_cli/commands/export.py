"""gpt2xl export."""

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gpt2xl_cli.exporting import missing_extra_explained, run_export
from gpt2xl_cli.options import Force, Json, Precision, Quiet
from gpt2xl_cli.progress import ProgressBars
from gpt2xl_cli.reporting.amounts import duration_text, size_of
from gpt2xl_cli.reporting.verdicts import choice_text, exactness, precision_text
from gpt2xl_cli.terminal import echo_line
from gpt2xl_cli.warning_lines import warnings_collected

EXACT_HINT = ", which loses nothing; --precision int8 makes a quarter of its size"


def _size(text: str) -> int:
    """Bytes, as an option gives them."""
    try:
        return size_of(text)
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"'{text}' is no size such as 900MB, 1.6GB or 1500000.") from None


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="Folder of a Hugging Face GPT-2 checkpoint, or a model on the hub: gpt2-xl, owner/name.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Bundle folder to create.", show_default=False)],
    *,
    precision: Annotated[
        Precision,
        typer.Option(
            "--precision",
            "-p",
            help="How the weights are stored. fp32 loses nothing; int8 suits most CPUs and takes a quarter of it, int4"
            " about a sixth; fast has 4 bits for single tokens and 8 for prompts and batches; auto chooses for each matrix"
            " within one of the three budgets.",
        ),
    ] = "fp32",
    max_kl: Annotated[
        float | None,
        typer.Option(
            help="Budget of auto: mean KL divergence from the checkpoint on held-out text, in nats, such as 0.01.",
            metavar="NATS",
            show_default=False,
        ),
    ] = None,
    max_size: Annotated[
        int | None,
        typer.Option(
            help="Budget of auto: size of the bundle, such as 900MB.",
            metavar="SIZE",
            parser=_size,
            show_default=False,
        ),
    ] = None,
    max_perplexity_loss: Annotated[
        float | None,
        typer.Option(
            help="Budget of auto: increase of the perplexity of held-out text with its standard error, in percent.",
            metavar="PERCENT",
            show_default=False,
        ),
    ] = None,
    block_size: Annotated[
        int, typer.Option(help="Number of int4 weights that share one scale.")
    ] = 64,
    kv: Annotated[
        Literal["auto", "float", "int8"],
        typer.Option(
            help="Format of the KV cache in the engine graph; auto: int8 for int8, int8-weight and int4, else float."
        ),
    ] = "auto",
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep the weights that match PATTERN in another format, such as fp32:h.0.*; repeatable.",
            metavar="FORMAT:PATTERN",
        ),
    ] = None,
    rounding: Annotated[
        Literal["auto", "gptq", "nearest"],
        typer.Option(
            help="How to round to int4; auto: gptq, or the rounding that the model was trained with."
        ),
    ] = "auto",
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Text like what the model will see, to calibrate quantized precisions; the first 4096 tokens count.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        Literal["gpt2xl", "optimum"], typer.Option(help="What builds the graph.")
    ] = "gpt2xl",
    text: Annotated[
        bool,
        typer.Option(
            "--text",
            help="Add graphs that hold the whole generation, from ids or a string to text, for programs in any language.",
        ),
    ] = False,
    one_file: Annotated[
        Literal["none", "ids", "string"],
        typer.Option(
            help="Put the weights into this graph of --text, so that its file alone suffices; below 2 GB."
        ),
    ] = "none",
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
    quiet: Quiet = False,
) -> None:
    """Export a checkpoint to an ONNX bundle, and check it against the checkpoint."""
    import json
    import time

    start, notes = time.monotonic(), ProgressBars(quiet=quiet)
    hint = EXACT_HINT if precision == "fp32" and backend == "gpt2xl" else ""
    notes.say(f"Exporting {source} to {out}: {precision_text(precision)}{hint}")
    with missing_extra_explained():
        from gpt2xl_export import ExportOptions

    options = ExportOptions(
        precision, block_size=block_size, kv=kv, keep=tuple(keep or ()), backend=backend,
        rounding=rounding, max_kl=max_kl, max_size=max_size,
        max_perplexity_loss=max_perplexity_loss, text=text, one_file=one_file,
    )  # fmt: skip
    run = partial(
        run_export, source, out, options,
        adapter=adapter, revision=revision, calibration=calibration, force=force, quiet=quiet,
    )  # fmt: skip
    if as_json:
        typer.echo(json.dumps(run()))
        return
    with warnings_collected() as warned:  # the summary says what was left out
        manifest = run()
    echo_line(_summary(out, manifest), indent=0)
    if chosen := manifest.get("chosen"):
        echo_line(choice_text(chosen), indent=0)
    echo_line(exactness(manifest), indent=0)
    for message in warned:
        echo_line(f"warning: {message}", indent=0)
    notes.say(
        f"Took {duration_text(time.monotonic() - start)}. Next:"
        f' gpt2xl generate -m {shlex.quote(str(out))} "Once upon a time"'
    )


def _summary(out: Path, manifest: dict[str, Any]) -> str:
    from gpt2xl_export.source.disk_space import size_text

    size = sum(entry["size"] for entry in manifest["files"].values())
    return f"Wrote {out}: {manifest['precision']}, {size_text(size)}."
