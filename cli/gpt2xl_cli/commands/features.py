"""gpt2xl features."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from gpt2xl_cli.models import model_folder
from gpt2xl_cli.options import Force, Model, Provider, Quiet, Special, Threads
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_cli.terminal import echo_line
from gpt2xl_cli.text_input import read_stdin, read_text_file


def features(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            help="Texts; without any, each line of --file or of stdin is one.",
            metavar="TEXT",
            show_default=False,
        ),
    ] = None,
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help="File with one text on each line.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="File to write: an array if it ends in .npy, else JSON lines; - prints them.",
            metavar="FILE",
        ),
    ] = Path("-"),
    pooling: Annotated[
        Literal["none", "mean", "last"],
        typer.Option(
            help="One vector for each token (none), their mean, or that of the last token."
        ),
    ] = "none",
    special: Special = True,
    model: Model = None,
    provider: Provider = "auto",
    threads: Threads = 0,
    force: Force = False,
    quiet: Quiet = False,
) -> None:
    """Compute features of texts: the hidden state after the final layer norm."""
    import gpt2xl
    from gpt2xl.errors import counted
    from gpt2xl_cli.batches.claim import refuse_existing
    from gpt2xl_cli.feature_files import check_shape, features_of, print_features, write_features

    to_stdout = str(out) == "-"
    lines = _texts(texts, file)
    if not to_stdout:
        check_shape(out, lines, pooling)
        refuse_existing(out, force)
    load = gpt2xl.LoadOptions(provider=provider, threads=threads)
    loaded = gpt2xl.load(model_folder(model, quiet=quiet), load)
    shown = not (quiet or (to_stdout and sys.stdout.isatty()))
    found = features_of(loaded, lines, pooling, parse_special=special, shown=shown)
    with cleaning_up():
        if to_stdout:
            print_features(sys.stdout, lines, found)
            return
        write_features(out, lines, found, pooled=pooling != "none", force=force)
    echo_line(f"Wrote {out}: features of {counted(len(lines), 'text')}.")


def _texts(texts: list[str] | None, file: Path | None) -> list[str]:
    from gpt2xl import RequestError

    if texts and file:
        raise typer.BadParameter("cannot be combined with TEXT.", param_hint="--file")
    if texts:
        return texts
    lines = (read_text_file(file) if file else read_stdin()).splitlines()
    if not lines:
        raise RequestError("there is no text: give one, or a file with one on each line.")
    return lines
