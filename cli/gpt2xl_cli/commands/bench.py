"""gpt2xl bench."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from gpt2xl_cli.models import model_folder, short_name
from gpt2xl_cli.options import (
    MODEL_PANEL,
    REPORT_PANEL,
    Json,
    Provider,
    Quiet,
    Threads,
    model_names,
)
from gpt2xl_cli.pictures import check_picture

SIZES_PANEL = "What is measured"


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models to measure, the same as -m: bundle folders, names on the hub (gpt2-xl), or demo.",
            metavar="MODEL",
            show_default=False,
            autocompletion=model_names,
        ),
    ] = None,
    *,
    named_models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Bundle folder, the name of a model on the hub (gpt2-xl), or demo; repeatable. Default: that of"
            " the config file, or the built-in demo.",
            metavar="MODEL",
            show_default=False,
            autocompletion=model_names,
            rich_help_panel=MODEL_PANEL,
        ),
    ] = None,
    prompt_tokens: Annotated[
        list[int] | None,
        typer.Option(
            help="Length of a prompt; repeatable. Default: 64 and 512, as far as the context has room.",
            min=1,
            show_default=False,
            rich_help_panel=SIZES_PANEL,
        ),
    ] = None,
    rows: Annotated[
        list[int] | None,
        typer.Option(
            help="Texts at a time in a batch; repeatable. Default: 8.",
            min=1,
            show_default=False,
            rich_help_panel=SIZES_PANEL,
        ),
    ] = None,
    new_tokens: Annotated[
        int,
        typer.Option(
            "--new-tokens",
            "-n",
            help="Tokens that each text generates.",
            min=2,
            rich_help_panel=SIZES_PANEL,
        ),
    ] = 24,
    repeats: Annotated[
        int,
        typer.Option(
            help="Rounds, in which the models take turns.", min=1, rich_help_panel=SIZES_PANEL
        ),
    ] = 3,
    provider: Provider = "auto",
    threads: Threads = 0,
    recommend: Annotated[
        bool,
        typer.Option(
            "--recommend",
            help="Name the model to use, out of two or more, and why.",
            rich_help_panel=REPORT_PANEL,
        ),
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Also draw the figures into this PNG file.",
            show_default=False,
            rich_help_panel=REPORT_PANEL,
        ),
    ] = None,
    format_: Annotated[
        Literal["text", "markdown", "csv", "json"],
        typer.Option("--format", help="How to print the figures.", rich_help_panel=REPORT_PANEL),
    ] = "text",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how fast models are on this machine, and how much memory they take.

    Each model generates texts from random ids, several times, in a process of its own. The figures are medians over the
    rounds with the smallest and the largest value. Close other programs for figures that you can trust.
    """
    from gpt2xl import LoadOptions, RequestError
    from gpt2xl.speed import SpeedSizes
    from gpt2xl_cli.benchmark.rounds import Settings
    from gpt2xl_cli.benchmark.run import Output, run_bench

    if as_json and format_ not in ("text", "json"):
        raise typer.BadParameter(f"--json and --format {format_} exclude each other.")
    names: list[str | None] = [*(models or []), *(named_models or [])]
    folders = _folders(names or [None])
    if recommend and len(folders) < 2:
        raise RequestError("--recommend chooses among bundles: name two or more.")
    if picture:
        check_picture(picture)
    sizes = SpeedSizes(new_tokens=new_tokens)
    if prompt_tokens:
        sizes = replace(sizes, prompt_tokens=tuple(prompt_tokens))
    if rows:
        sizes = replace(sizes, rows=tuple(rows))
    settings = Settings(LoadOptions(provider=provider, threads=threads), sizes, repeats)
    output = Output("json" if as_json else format_, picture, recommend=recommend, quiet=quiet)
    run_bench(folders, settings, output, sizes_are_given=bool(prompt_tokens))


def _folders(models: list[str | None]) -> dict[Path, str]:
    """The folder of each model, and its name."""
    folders = [(model_folder(given), given) for given in models]
    return {folder: short_name(given, folder) for folder, given in folders}
