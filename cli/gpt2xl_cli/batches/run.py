"""Run gpt2xl batch: read the input, generate its texts, and write them to a file or to stdout."""

import sys
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import typer

import gpt2xl
from gpt2xl import Generation, GenerationOptions, LoadOptions, RequestError
from gpt2xl.errors import counted
from gpt2xl.searching import is_search
from gpt2xl_cli.batches.batch_progress import BatchProgress
from gpt2xl_cli.batches.lines import Line, as_json_lines, check_prompts, parse
from gpt2xl_cli.batches.printer import OrderedPrinter
from gpt2xl_cli.batches.resume_file import ResumeFile
from gpt2xl_cli.batches.run_header import run_header
from gpt2xl_cli.models import model_folder, model_name
from gpt2xl_cli.progress import ProgressBars
from gpt2xl_cli.reporting.amounts import speed_text
from gpt2xl_cli.signals import with_detail
from gpt2xl_cli.text_input import read_stdin, read_text_file
from gpt2xl_cli.text_options.layers import Layer, options_over

Texts = Iterator[tuple[int, Generation]]


@dataclass(frozen=True)
class Batch:
    """An input whose prompts are checked, and the model to continue them."""

    content: str
    lines: Sequence[Line]
    folder: Path
    model: gpt2xl.Model
    options: GenerationOptions
    rows: int
    quiet: bool = False
    """Whether to show no notes and no bar."""

    def texts(
        self, seed: int | None, done: Container[int], count: Callable[[], None] | None
    ) -> Texts:
        """Generate the texts that are not ``done``.

        Args:
            seed: of the first line's text.
            done: numbers of lines.
            count: called after each new token.
        """
        options = replace(self.options, seed=seed)
        if is_search(options):
            return self._searched(options, done)
        if count is not None:
            options = replace(
                options, stopping=lambda _: bool(count())
            )  # it sees each token, and never stops
        prompts = (line.prompt for line in self.lines)
        return self.model.generate_batch(prompts, options, rows=self.rows, skip=done)

    def _searched(self, options: GenerationOptions, done: Container[int]) -> Texts:
        """The best text of each prompt, one after the other; seeds as of `Model.generate_batch`."""
        for index, line in enumerate(self.lines):
            if index not in done:
                seed = None if options.seed is None else options.seed + index
                yield index, self.model.generate(line.prompt, replace(options, seed=seed))


@dataclass(frozen=True)
class Summary:
    """What was written, for --json."""

    out: str
    rows: int
    """Texts in the output; not the option ``--rows``."""
    done_before: int
    """Texts that an earlier run had finished."""
    new_tokens: int
    """Of all texts."""
    new_tokens_now: int
    """Of the texts of this run."""
    tokens_per_second: float | None
    """Of this run; None where there was nothing left to generate."""

    def line(self) -> str:
        """For people."""
        parts = [counted(self.rows, "text"), counted(self.new_tokens, "new token")]
        if self.done_before:
            parts.append(f"{self.new_tokens_now} of them in this run")
        if self.tokens_per_second:
            parts.append(speed_text(self.tokens_per_second, "tokens"))
        return f"Wrote {self.out}: {', '.join(parts)}."


def read_batch(
    source: str,
    model: str | None,
    load: LoadOptions,
    layers: Sequence[Layer],
    rows: int,
    *,
    plain_lines: bool = False,
    quiet: bool = False,
    announced: bool = True,
) -> Batch:
    """Read the input and load the model.

    Args:
        source: a file, or "-" for stdin.
        model: as for ``--model``.
        load: how to load it.
        layers: options of all texts, over the model's own.
        rows: texts that share a step.
        plain_lines: whether each line is a prompt, not JSON.
        quiet: whether to show no notes and no bars.
        announced: whether to say what begins, where stderr is a terminal.

    Raises:
        RequestError: a line, a prompt or the whole input cannot be used.
    """
    name = "stdin" if source == "-" else f"'{source}'"
    content = read_stdin() if source == "-" else read_text_file(Path(source))
    if plain_lines:
        content = as_json_lines(content)
    lines = parse(content, name)
    folder = model_folder(model, quiet=quiet)
    ProgressBars(enabled=announced, quiet=quiet).say(
        f"Continuing {counted(len(lines), 'text')} of {name} with {model_name(model)}"
    )
    loaded = gpt2xl.load(folder, load)
    options = options_over(loaded.defaults, layers)
    if options.num_return_sequences > 1:
        raise RequestError("a batch writes one text for each line: leave num_return_sequences out.")
    check = partial(loaded.prompt_ids, parse_special=options.parse_special)
    check_prompts(lines, name, check)
    return Batch(content, lines, folder, loaded, options, rows, quiet)


def print_texts(batch: Batch) -> None:
    """Print each line with its text on stdout, in the order of the input."""
    printer, total = OrderedPrinter(batch.lines), len(batch.lines)
    on_terminal = sys.stdout.isatty()  # where the lines themselves show the progress
    progress = BatchProgress(batch.options, 0, total, shown=not (on_terminal or batch.quiet))
    texts = batch.texts(batch.options.seed, (), progress.each_token)
    with with_detail(lambda: f"{printer.count} of {total} texts are written."), progress:
        for index, generation in texts:
            printer.add(index, generation)
            progress.finish(generation)


def write_texts(batch: Batch, out: Path, *, force: bool) -> Summary:
    """Resume or begin the run that writes ``out``; the caller holds its lock."""
    header = run_header(batch.content, batch.folder, batch.options)
    resume = ResumeFile(out, header, force=force)
    before, total = len(resume.done), len(batch.lines)
    progress = BatchProgress(batch.options, before, total, shown=not batch.quiet)
    texts = batch.texts(resume.seed, frozenset(resume.done), progress.each_token)
    if before and not batch.quiet:
        typer.echo(f"{before} of {total} texts were done already; resuming.", err=True)
    with with_detail(
        lambda: f"{resume.count()} of {total} texts are done; the same command resumes."
    ):
        with resume, progress:
            for index, generation in texts:
                resume.add(index, generation)
                progress.finish(generation)
        resume.finish(batch.lines, force=force)
    new_tokens = sum(result["new_tokens"] for result in resume.done.values())
    return Summary(
        str(out), total, before, new_tokens, progress.finished_tokens, progress.speed or None
    )
