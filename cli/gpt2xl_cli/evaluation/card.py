"""The ten columns of GPT-2 XL's model card: the paper's rows, and ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpt2xl_cli.evaluation.measuring import Result, Subject
from gpt2xl_cli.evaluation.report import PAPER, as_values, part_text, settings_text
from gpt2xl_cli.reporting.tables import aligned, markdown_row
from gpt2xl_eval.published import COLUMNS, paper_value, sizes_like
from gpt2xl_eval.sources import SOURCES
from gpt2xl_eval.tasks import TASKS

ABSENT = "-"


@dataclass(frozen=True)
class Card:
    """What a run over a folder has found."""

    subject: Subject
    results: Mapping[str, Result]
    """By the task."""
    missing: Sequence[str]
    """Tasks without data."""
    failed: Mapping[str, str]
    """Tasks whose data cannot be used, with the reason."""

    @property
    def ours(self) -> dict[str, float]:
        """The figures by their column; accuracies in percent."""
        found = {}
        for task, result in self.results.items():
            for column, name in TASKS[task].columns.items():
                value = result.outcome.figures[name]
                found[column] = 100 * value if name.startswith("accuracy") else value
        return found

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The names of the columns, the paper's rows and ours."""
        ours, config = self.ours, self.subject.model.config
        papers = [
            (f"paper {size}", *(f"{paper_value(size, column):g}" for column in COLUMNS))
            for size in sizes_like(config)
        ]
        values = (f"{ours[column]:.2f}" if column in ours else ABSENT for column in COLUMNS)
        return [("", *COLUMNS), *papers, (self.subject.name, *values)]


def as_text(card: Card, width: int) -> list[str]:
    """The table, in two parts where it is wider than ``width`` columns, and what belongs to each figure."""
    whole = aligned(card.rows, right=1)
    if max(map(len, whole)) > width:
        half = 1 + len(COLUMNS) // 2
        first = aligned([row[:half] for row in card.rows], right=1)
        second = aligned([(row[0], *row[half:]) for row in card.rows], right=1)
        whole = [*first, "", *second]
    return [*whole, "", *note_lines(card)]


def as_markdown(card: Card) -> list[str]:
    """The same in Markdown."""
    heads, *rows = card.rows
    table = [markdown_row(heads), markdown_row(["---", *["--:"] * len(COLUMNS)])]
    notes = (f"- {line}" for line in note_lines(card))
    return [*table, *map(markdown_row, rows), "", *notes]


def note_lines(card: Card) -> list[str]:
    """A line for each row that was measured, and for each that was not."""
    lines = [f"Paper: {PAPER}. Accuracies are in percent."]
    for task, result in card.results.items():
        part = f"; {part_text(result)}" if result.limit else ""
        lines.append(f"{_columns(task)}: {settings_text(result)}; {result.data.path}{part}")
    lines += [f"{_columns(task)}: not measured. {reason}" for task, reason in card.failed.items()]
    return [*lines, *map(missing_line, card.missing)]


def missing_line(task: str) -> str:
    """Where the data of ``task`` is to be had."""
    return f"{_columns(task)}: no data; {SOURCES[task].line}"


def as_json(card: Card) -> dict[str, Any]:
    """All of it in types that JSON has."""
    sizes = sizes_like(card.subject.model.config)
    return {
        "columns": list(COLUMNS),
        "paper": {size: {c: paper_value(size, c) for c in COLUMNS} for size in sizes},
        "ours": card.ours,
        "tasks": {task: as_values(card.subject, r) for task, r in card.results.items()},
        "missing": {task: SOURCES[task].line for task in card.missing},
        "failed": dict(card.failed),
    }


def _columns(task: str) -> str:
    return " and ".join(TASKS[task].columns)
