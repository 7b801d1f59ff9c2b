"""gpt2xl batch."""

import json
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gpt2xl_cli.batches.cluster_options import ClusterOptions
from gpt2xl_cli.options import Force, GenerationConfig, Json, Model, Provider, Quiet, Threads
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_line
from gpt2xl_cli.text_options.layers import layers_of
from gpt2xl_cli.text_options.spreading import spread
from gpt2xl_cli.text_options.text_options import OneText


@spread
def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help='File with one JSON object on each line, each with a "prompt", or with --lines; - reads stdin.',
            show_default=False,
        ),
    ],
    out: Annotated[
        str,
        typer.Argument(
            help="File to write: the same lines, each with its text. Until all are done, OUT.part"
            " holds the finished texts. - prints the lines on stdout.",
            show_default=False,
        ),
    ],
    *,
    lines: Annotated[
        bool, typer.Option("--lines", help="Each line of IN is a prompt as it stands, not JSON.")
    ] = False,
    text: OneText,
    rows: Annotated[
        int,
        typer.Option(
            help="Maximum number of texts that share each step; on the CPU it changes no text."
        ),
    ] = 16,
    model: Model = None,
    generation_config: GenerationConfig = "model",
    provider: Provider = "auto",
    threads: Threads = 0,
    force: Force = False,
    cluster: ClusterOptions,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Continue many texts; after an interruption, the same command generates what is missing."""
    from gpt2xl import LoadOptions, RequestError
    from gpt2xl_cli.batches.claim import claimed
    from gpt2xl_cli.batches.run import print_texts, read_batch, write_texts

    cluster.check_needed()
    to_stdout = out == "-"
    if to_stdout and as_json:
        raise typer.BadParameter(
            "cannot be combined with OUT '-': stdout carries the texts.", param_hint="--json"
        )
    load = LoadOptions(provider=provider, threads=threads, generation_config=generation_config)
    if cluster.ray is not None:
        from gpt2xl_cli.batches.cluster import refuse_local_only, run_on_cluster, summary_line

        refuse_local_only(source, out, lines=lines)
        with cleaning_up():
            done = run_on_cluster(
                source, out, cluster, model, load, layers_of(text), rows, force=force, quiet=quiet
            )
        echo_line(json.dumps(asdict(done)) if as_json else summary_line(done))
        return
    read = partial(
        read_batch, source, model, load, layers_of(text), rows, plain_lines=lines, quiet=quiet
    )
    with cleaning_up():
        if to_stdout:
            announced = not sys.stdout.isatty()
            batch = read(announced=announced)
            print_texts(batch)
            return
        if source != "-" and os.path.realpath(source) == os.path.realpath(out):
            raise RequestError(f"'{Path(out)}' is the input, too: name another file to write.")
        with claimed(Path(out), force=force):
            batch = read()
            summary = write_texts(batch, Path(out), force=force)
    if as_json:
        typer.echo(json.dumps(asdict(summary)))
    else:
        echo_line(summary.line())
