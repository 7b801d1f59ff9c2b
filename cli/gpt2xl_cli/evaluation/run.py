"""Run gpt2xl eval: list the tasks, measure one, or fill in the card's table."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import get_terminal_size
from typing import Literal

import typer

from gpt2xl import LoadOptions, RequestError
from gpt2xl_cli.evaluation import card as cards
from gpt2xl_cli.evaluation import listing, report
from gpt2xl_cli.evaluation.measuring import Result, Settings, Subject, measure, opened
from gpt2xl_cli.models import model_folder, short_name
from gpt2xl_cli.progress import ProgressBars
from gpt2xl_cli.reporting.amounts import duration_text
from gpt2xl_cli.terminal import echo_line, is_terminal
from gpt2xl_cli.warning_lines import show_warning
from gpt2xl_eval.finding import DataFolder
from gpt2xl_eval.published import COLUMNS
from gpt2xl_eval.tasks import TASKS, entry_of

Format = Literal["text", "markdown", "json"]
PIPE_COLUMNS = 1000


@dataclass(frozen=True)
class Named:
    """The model as it is named on the command line."""

    model: str | None
    load: LoadOptions

    def open(self, *, quiet: bool) -> Subject:
        """Load it."""
        folder = model_folder(self.model, quiet=quiet)
        return opened(folder, short_name(self.model, folder), self.load)


def list_tasks(format_: Format) -> None:
    """Print the tasks and where their data is."""
    if format_ == "json":
        typer.echo(json.dumps(listing.as_values()))
        return
    _print(listing.as_lines(), indent=report.INDENT)


def run_task(name: str, data: Path, named: Named, settings: Settings, format_: Format) -> None:
    """Measure one task and print its figures."""
    entry_of(name)
    if not data.exists():
        raise RequestError(f"'{data}' does not exist.")
    subject = named.open(quiet=settings.quiet)
    bars = ProgressBars(quiet=settings.quiet)
    bars.say(f"Measuring {name} of {subject.name} on '{data}'")
    result = measure(subject, name, data, settings)
    if format_ == "json":
        typer.echo(json.dumps(report.as_values(subject, result)))
    else:
        _print([*report.title_lines(subject, result), ""], indent=report.INDENT)
        _print(report.figure_lines(subject, result, _columns()))
        _print(report.other_lines(subject, result))
    result.journal.unlink(missing_ok=True)


def run_table(folder: Path, named: Named, settings: Settings, format_: Format) -> None:
    """Measure all rows of the card's table whose data is in ``folder``, and print the table.

    Raises:
        RequestError: there is no data of any row; or, after the table, that of a row cannot be used.
    """
    names = sorted((n for n in TASKS if TASKS[n].columns), key=_place)
    found = DataFolder(folder)
    data = {name: path for name in names if (path := found.find(TASKS[name].files))}
    if not data:
        usual = ", ".join(TASKS[name].files[0] for name in names)
        raise RequestError(f"'{folder}' has no data of any row, such as {usual}.")
    subject = named.open(quiet=settings.quiet)
    bars = ProgressBars(quiet=settings.quiet)
    results, failed = dict[str, Result](), dict[str, str]()
    for name, path in data.items():
        bars.say(f"Measuring {name} of {subject.name} on '{path}'")
        try:
            results[name] = measure(subject, name, path, _for_task(settings, name))
        except RequestError as reason:
            failed[name] = str(reason)
            show_warning(f"{name} is left out: {reason}")
        else:
            bars.say(f"Measured {name} in {duration_text(results[name].seconds)}")
    missing = [name for name in names if name not in data]
    _print_card(cards.Card(subject, results, missing, failed), format_)
    for result in results.values():
        result.journal.unlink(missing_ok=True)
    if failed:
        raise RequestError(f"the data of {', '.join(failed)} cannot be used.")


def _place(name: str) -> int:
    """Where the row stands among the columns of the table."""
    return COLUMNS.index(next(iter(TASKS[name].columns)))


def _for_task(settings: Settings, name: str) -> Settings:
    """The settings without options that the task does not have."""
    options, has = settings.options, TASKS[name].options
    stride = options.stride if "stride" in has else None
    context = options.context if "context" in has else None
    return replace(settings, options=replace(options, stride=stride, context=context))


def _print_card(card: cards.Card, format_: Format) -> None:
    if format_ == "json":
        typer.echo(json.dumps(cards.as_json(card)))
    elif format_ == "markdown":
        _print(cards.as_markdown(card), indent=None)
    else:
        _print(cards.as_text(card, _columns()))


def _columns() -> int:
    return get_terminal_size().columns if is_terminal(sys.stdout) else PIPE_COLUMNS


def _print(lines: Sequence[str], indent: int | None = 2) -> None:
    """On a terminal, ``indent`` columns stand before what does not fit a line; with None lines are not broken."""
    for line in lines:
        echo_line(line, indent=indent)
