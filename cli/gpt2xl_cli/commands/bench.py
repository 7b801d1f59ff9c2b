"""gpt2xl bench."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from gpt2xl_cli.models import model_folder
from gpt2xl_cli.options import Json, Provider, Threads
from gpt2xl_cli.pictures import check_picture
from gpt2xl_cli.terminal import echo_line


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Bundle folders, names of models on the hub, or demo. Default: the built-in demo.",
            metavar="[MODEL]...",
        ),
    ] = None,
    *,
    recommend: Annotated[
        bool, typer.Option("--recommend", help="Name the bundle to use, out of two or more.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(help="Also draw the figures into this PNG file.", show_default=False),
    ] = None,
    provider: Provider = "auto",
    threads: Threads = 0,
    as_json: Json = False,
) -> None:
    """Measure how fast bundles are on this machine, and how much memory they take."""
    from gpt2xl import LoadOptions, RequestError
    from gpt2xl_cli.benchmark.process import measure_in_process
    from gpt2xl_cli.benchmark.report import as_table, recommended

    folders = [model_folder(model) for model in models] if models else [model_folder(None)]
    if recommend and len(folders) < 2:
        raise RequestError("--recommend chooses among bundles: name two or more.")
    if picture:
        check_picture(picture)
    load = LoadOptions(provider=provider, threads=threads)
    results = {str(folder): measure_in_process(folder, load) for folder in folders}
    if picture:
        from gpt2xl_cli.benchmark.picture import draw

        draw(results, picture)
    chosen = recommended(results) if recommend else None
    if as_json:
        bundles = {
            folder: [asdict(speed) for speed in speeds] for folder, speeds in results.items()
        }
        typer.echo(json.dumps({"bundles": bundles} | ({"recommended": chosen} if chosen else {})))
        return
    for folder, speeds in results.items():
        echo_line(folder)
        typer.echo(as_table(speeds))
    if chosen:
        echo_line(f"Recommended: {chosen}")
