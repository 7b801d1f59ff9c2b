"""gpt2xl eval."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from gpt2xl_cli.options import REPORT_PANEL, Json, Model, Provider, Quiet, Threads
from gpt2xl_cli.signals import cleaning_up

if TYPE_CHECKING:
    from gpt2xl_cli.evaluation.measuring import Settings

DATA_PANEL, SETTINGS_PANEL = "What is measured", "What the figures depend on"


def _task_names(incomplete: str) -> list[str]:
    """For the shell to complete."""
    from gpt2xl_eval.tasks import TASKS

    return [name for name in TASKS if name.startswith(incomplete)]


def evaluate(
    task: Annotated[
        str | None,
        typer.Argument(
            help="What to measure; without TASK and --table, the tasks are listed.",
            show_default=False,
            autocompletion=_task_names,
        ),
    ] = None,
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            "-f",
            help="The data set, as it is distributed.",
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Measure all rows of the model card's table whose data is in this folder.",
            metavar="FOLDER",
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            help="Tokens that each window but the first scores.",
            show_default="half of the context",
            rich_help_panel=SETTINGS_PANEL,
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            help="Tokens that the model reads at most.",
            show_default="all that the model has",
            rich_help_panel=SETTINGS_PANEL,
        ),
    ] = None,
    detokenizer: Annotated[
        str,
        typer.Option(
            help="How text is made of the words of a data set: auto for the task's own, none, or a name.",
            rich_help_panel=SETTINGS_PANEL,
        ),
    ] = "auto",
    denominator: Annotated[
        Literal["auto", "token", "word", "word-no-eos", "byte", "character"],
        typer.Option(
            help="What a perplexity is of; auto for the task's own.", rich_help_panel=SETTINGS_PANEL
        ),
    ] = "auto",
    prefix: Annotated[
        Literal["auto", "endoftext", "newline", "none"],
        typer.Option(
            help="What comes before each text; auto for the task's own.",
            rich_help_panel=SETTINGS_PANEL,
        ),
    ] = "auto",
    documents: Annotated[
        Literal["auto", "one", "articles", "lines"],
        typer.Option(
            help="Texts that are read apart from each other; auto for the task's own.",
            rich_help_panel=SETTINGS_PANEL,
        ),
    ] = "auto",
    part: Annotated[
        Literal["auto", "test", "all"],
        typer.Option(
            help="Of enwik8 and text8: the last 5 MB, or all.", rich_help_panel=SETTINGS_PANEL
        ),
    ] = "auto",
    limit: Annotated[
        int | None,
        typer.Option(
            help="Measure only so many questions or windows; the figures say that they are of a part.",
            min=1,
            show_default=False,
            rich_help_panel=DATA_PANEL,
        ),
    ] = None,
    rows: Annotated[int, typer.Option(help="Texts that share each step, at most.", min=1)] = 16,
    journal: Annotated[
        Path | None,
        typer.Option(
            help="File that keeps what is measured until the end, so that the same command goes on after a kill.",
            show_default="one in gpt2xl's cache",
        ),
    ] = None,
    model: Model = None,
    provider: Provider = "auto",
    threads: Threads = 0,
    format_: Annotated[
        Literal["text", "markdown", "json"],
        typer.Option(
            "--format", help="How to print the table of --table.", rich_help_panel=REPORT_PANEL
        ),
    ] = "text",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure how well a model predicts text: perplexities and accuracies of GPT-2's model card.

    Figures are printed with the settings that they depend on, beside the paper's and what others got. After a kill, the
    same command goes on where it was.
    """
    from gpt2xl import LoadOptions
    from gpt2xl_cli.evaluation.measuring import Settings
    from gpt2xl_cli.evaluation.run import Named, list_tasks, run_table, run_task
    from gpt2xl_eval.options import EvalOptions
    from gpt2xl_eval.tasks import entry_of

    if as_json and format_ == "markdown":
        raise typer.BadParameter("--json and --format markdown exclude each other.")
    format_ = "json" if as_json else format_
    options = EvalOptions(stride, context, detokenizer, denominator, prefix, documents, part, limit)
    settings = Settings(options, rows, journal, quiet)
    named = Named(model, LoadOptions(provider=provider, threads=threads))
    if table is not None:
        _check_table(task, data, settings)
        with cleaning_up():
            run_table(table, named, settings, format_)
    elif task is None:
        if data is not None:
            raise typer.BadParameter("names data without a TASK.", param_hint="--data")
        list_tasks(format_)
    elif data is None:
        wanted = entry_of(task).data
        raise typer.BadParameter(f"is missing: {task} measures {wanted}.", param_hint="--data")
    elif format_ == "markdown":
        raise typer.BadParameter("markdown is for --table.", param_hint="--format")
    else:
        with cleaning_up():
            run_task(task, data, named, settings, format_)


def _check_table(task: str | None, data: Path | None, settings: "Settings") -> None:
    """Refuse what belongs to one task: each row has its own."""
    from gpt2xl_eval.options import EvalOptions

    nothing, options = EvalOptions(), settings.options
    own = ("detokenizer", "denominator", "prefix", "documents", "part")
    given = [f"--{name}" for name in own if getattr(options, name) != getattr(nothing, name)]
    given += ["TASK"] if task is not None else []
    given += ["--data"] if data is not None else []
    given += ["--journal"] if settings.journal is not None else []
    if given:
        raise typer.BadParameter(
            "cannot be combined with --table: each row has its own.", param_hint=given[0]
        )
