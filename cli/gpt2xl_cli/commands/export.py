"""gpt2xl export."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gpt2xl_cli.exporting import missing_extra_explained, run_export
from gpt2xl_cli.options import Force, Json
from gpt2xl_cli.terminal import echo_line
from gpt2xl_cli.warning_lines import warnings_collected


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
        from gpt2xl_export.output.graphs import ExportOptions

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
