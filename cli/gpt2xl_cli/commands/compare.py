"""gpt2xl compare."""

import json
from pathlib import Path
from typing import Annotated

import typer

from gpt2xl_cli.models import model_folder
from gpt2xl_cli.options import (
    REPORT_PANEL,
    Json,
    Provider,
    Quiet,
    Threads,
    model_names,
)
from gpt2xl_cli.pictures import check_picture
from gpt2xl_cli.terminal import echo_line
from gpt2xl_cli.text_input import read_text_file

DATA_PANEL = "Data"
PAGE = "a page of English text"
MODEL_HELP = "Bundle folder, the name of a model on the hub (gpt2-xl), or demo."


def compare(
    first: Annotated[str, typer.Argument(help=MODEL_HELP, metavar="A", autocompletion=model_names)],
    second: Annotated[
        str,
        typer.Argument(
            help="Another one with the same vocabulary.", metavar="B", autocompletion=model_names
        ),
    ],
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Text file in UTF-8. Default: a page of English text, too short for exact figures.",
            metavar="FILE",
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="Score only so many tokens from the beginning of the text.",
            min=1,
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a window. Default: the shorter context of the two models.",
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            help="Tokens of each window but the first that are scored; those before them are context."
            " Default: all but one.",
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    show: Annotated[
        int,
        typer.Option(
            help="Number of tokens with the largest KL to print.",
            min=0,
            rich_help_panel=REPORT_PANEL,
        ),
    ] = 10,
    picture: Annotated[
        Path | None,
        typer.Option(
            help="Also draw the comparison into this PNG file.",
            metavar="FILE",
            show_default=False,
            rich_help_panel=REPORT_PANEL,
        ),
    ] = None,
    provider: Provider = "auto",
    threads: Threads = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare how two models predict a text: perplexity, KL divergence and agreement.

    Both models are loaded at once. KL(A||B) is that of the next token's distribution: take the more exact model as A.
    """
    from gpt2xl import LoadOptions
    from gpt2xl_cli.comparison.report import as_values, head_lines, tables
    from gpt2xl_cli.comparison.run import Extent, run
    from gpt2xl_cli.reporting.verdicts import of_comparison

    if picture:
        check_picture(picture)
    text, name = (read_text_file(data), data.name) if data else (_page(), PAGE)
    folders = [model_folder(model, quiet=quiet) for model in (first, second)]
    options = LoadOptions(provider=provider, threads=threads, spinning=False)
    extent = Extent(limit, context, stride)
    found = run(folders, (first, second), text, name, extent, options, quiet=quiet)
    if picture:
        from gpt2xl_cli.comparison.picture import draw

        draw(found, picture)
    if as_json:
        typer.echo(json.dumps(as_values(found, show)))
        return
    from rich.console import Console

    for line in head_lines(found):
        echo_line(line)
    console = Console(highlight=False, markup=False)
    for title, table in tables(found, show, console.width):
        echo_line("")
        echo_line(title)
        console.print(table)
    echo_line("")
    echo_line(of_comparison(found.figures), indent=2)
    if not data:
        echo_line(f"{found.figures.tokens} tokens are few: name a text with --data.", indent=2)


def _page() -> str:
    """The text on which exports are checked."""
    from importlib.resources import files

    return (files("gpt2xl_export.check") / "held_out.txt").read_text("utf-8")
