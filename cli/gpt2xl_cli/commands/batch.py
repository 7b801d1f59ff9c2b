"""gpt2xl batch."""

import json
import sys
import time
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gpt2xl_cli.models import model_folder
from gpt2xl_cli.options import (
    Force,
    Greedy,
    Json,
    MaxNewTokens,
    Model,
    Provider,
    Seed,
    Special,
    Temperature,
    Threads,
    TopK,
)
from gpt2xl_cli.progress import ProgressBars
from gpt2xl_cli.signals import cleaning_up, with_detail
from gpt2xl_cli.terminal import echo_line
from gpt2xl_cli.text_input import read_stdin, read_text_file

if TYPE_CHECKING:
    from gpt2xl import Generation
    from gpt2xl_cli.batches.lines import Line
    from gpt2xl_cli.batches.resume_file import ResumeFile

    Texts = Iterator[tuple[int, Generation]]


def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help='A JSON object a line, each with a "prompt"; - reads stdin.',
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Argument(
            help="The same lines with the texts; OUT.part holds what is done until all is."
            " - writes them to stdout.",
            show_default=False,
        ),
    ],
    *,
    model: Model = None,
    max_new_tokens: MaxNewTokens = 128,
    top_k: TopK = 40,
    temperature: Temperature = 0.8,
    greedy: Greedy = False,
    seed: Seed = None,
    special: Special = True,
    rows: Annotated[
        int, typer.Option(help="Texts that share each step; on the CPU changes no text.")
    ] = 16,
    provider: Provider = "auto",
    threads: Threads = 0,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Continue many texts; a run that was cut short goes on when started again."""
    import gpt2xl
    from gpt2xl_cli.batches.claim import claimed
    from gpt2xl_cli.batches.lines import check_prompts, parse
    from gpt2xl_cli.batches.resume_file import ResumeFile
    from gpt2xl_cli.batches.run_header import run_header

    printing, greedy = str(out) == "-", greedy or temperature == 0
    if printing and as_json:
        raise typer.BadParameter(
            "cannot be combined with OUT '-': stdout carries the texts.", param_hint="--json"
        )
    with cleaning_up(), nullcontext() if printing else claimed(out, force=force):
        name = "stdin" if source == "-" else f"'{source}'"
        content = read_stdin() if source == "-" else read_text_file(Path(source))
        lines = parse(content, name)
        folder = model_folder(model)
        loaded = gpt2xl.load(folder, provider=provider, threads=threads)
        check_prompts(lines, name, partial(loaded.prompt_ids, parse_special=special))

        def texts(first: int | None, done: Container[int] = ()) -> "Texts":
            return loaded.generate_batch(
                (line.prompt for line in lines),
                rows=rows,
                max_new_tokens=max_new_tokens,
                greedy=greedy,
                top_k=top_k,
                temperature=temperature,
                seed=first,
                parse_special=special,
                skip=done,
            )

        if printing:
            _print(lines, texts(seed))
            return
        deciding: dict[str, object] = {"max_new_tokens": max_new_tokens, "greedy": greedy}
        deciding |= {} if greedy else {"top_k": top_k, "temperature": temperature}
        deciding |= {} if special else {"special": False}
        header = run_header(content, folder, deciding, seed)
        part = ResumeFile(out, header, force=force)
        facts = {"out": str(out), "rows": len(lines), "done_before": len(part.done)}
        _write(lines, part, texts(part.seed, frozenset(part.done)), force=force)
    new_tokens = sum(row["new_tokens"] for row in part.done.values())
    if as_json:
        typer.echo(json.dumps(facts | {"new_tokens": new_tokens}))
    else:
        echo_line(f"Wrote {out}: {len(lines)} texts, {new_tokens} new tokens.")


def _print(lines: "Sequence[Line]", texts: "Texts") -> None:
    from gpt2xl_cli.batches.printer import OrderedPrinter

    printed = OrderedPrinter(lines)
    shown = not sys.stdout.isatty()  # there, the lines are the progress
    with (
        with_detail(lambda: f"{printed.count} of {len(lines)} texts are written."),
        _progress(0, len(lines), shown=shown) as show,
    ):
        for number, text in texts:
            printed.add(number, text)
            show(len(text.new_ids))


def _write(lines: "Sequence[Line]", part: "ResumeFile", texts: "Texts", *, force: bool) -> None:
    before = len(part.done)
    if before:
        typer.echo(f"{before} of {len(lines)} texts were done already; going on.", err=True)
    with with_detail(
        lambda: (
            f"{part.count()} of {len(lines)} texts are done in '{part.path}';"
            " run the same command again to go on."
        )
    ):
        with part, _progress(before, len(lines)) as show:
            for number, text in texts:
                part.add(number, text)
                show(len(text.new_ids))
        part.finish(lines, force=force)


@contextmanager
def _progress(done: int, total: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Show a bar of finished texts; call it with the number of tokens of each."""
    start, tokens = time.perf_counter(), 0
    with ProgressBars(enabled=shown) as bars:
        bars.show("texts", done, total)

        def show(count: int) -> None:
            nonlocal done, tokens
            done, tokens = done + 1, tokens + count
            rate = tokens / (time.perf_counter() - start)
            bars.show("texts", done, total, f"{rate:.0f} tokens/s")

        yield show
