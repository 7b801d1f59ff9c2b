"""The figures of one task, as text and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from gpt2xl.errors import counted
from gpt2xl_cli.evaluation.measuring import Result, Subject
from gpt2xl_cli.reporting.amounts import duration_text, speed_text
from gpt2xl_cli.reporting.tables import aligned
from gpt2xl_eval.entry import TaskEntry
from gpt2xl_eval.published import paper_value, reproductions, sizes_like
from gpt2xl_eval.tasks import entry_of

SUM_DIGITS = 12  # of a checksum, for people
LARGE = 1e6
INDENT = 10
"""Columns before the values of the title lines."""
PAPER = "Radford et al. 2019, Table 3"


def figure_text(name: str, value: float) -> str:
    """A figure for people: accuracies in percent, counts without decimals.

    >>> figure_text("accuracy", 0.63244), figure_text("perplexity per word", 18.3449)
    ('63.24 %', '18.345')
    >>> figure_text("bits per byte", 0.93126)
    '0.9313'
    >>> figure_text("tied questions", 2.0)
    '2'
    """
    if name.startswith("accuracy"):
        return f"{value:.2%}".replace("%", " %")
    if name.startswith("bits"):
        return f"{value:.4f}"
    if name.startswith("tied"):
        return f"{value:.0f}"
    return f"{value:,.3f}" if value < LARGE else f"{value:.4g}"


def settings_text(result: Result) -> str:
    """What the figures depend on, in a line."""
    return ", ".join(f"{name} {value}" for name, value in result.outcome.settings.items())


def part_text(result: Result) -> str:
    """What has to be said of the figures of a part; empty where all was measured."""
    if result.limit is None:
        return ""
    return f"of a part (--limit {result.limit}): not to be compared with figures of the whole"


def title_lines(subject: Subject, result: Result) -> list[str]:
    """Task, model, data, settings and what was measured, a line each."""
    outcome, data, config = result.outcome, result.data, subject.model.config
    size = (
        "a folder"
        if data.size is None
        else f"{_counted('bytes', data.size)}, sha256 {data.sha256[:SUM_DIGITS]}"
    )
    speed = speed_text(result.tokens_per_second or 0, "tokens")
    took = f"resumed after {result.resumed}" if result.resumed else speed
    counts = ", ".join(_counted(name, count) for name, count in outcome.counts.items())
    layers = counted(config.n_layer, "layer")
    lines = {
        "Task": f"{outcome.task}: {entry_of(outcome.task).summary}",
        "Model": f"{subject.name}: {subject.precision}, {layers}, {config.n_embd} wide",
        "Data": f"{data.path}, {size}",
        "Settings": settings_text(result),
        "Measured": f"{counts} in {duration_text(result.seconds)}, {took}",
        "Part": part_text(result),
    }
    return [f"{name:{INDENT}}{value}" for name, value in lines.items() if value]


def figure_lines(subject: Subject, result: Result, width: int) -> list[str]:
    """A table of the figures, beside the paper's; these stand below it where it is wider than ``width`` columns."""
    entry, figures = entry_of(result.outcome.task), result.outcome.figures
    sizes = sizes_like(subject.model.config) if entry.columns else ()
    rows = [("", subject.name, *(f"paper {size}" for size in sizes))]
    for name, value in figures.items():
        papers = (_paper_text(entry, name, size) for size in sizes)
        rows.append((name, figure_text(name, value), *papers))
    lines = aligned(rows, right=1)
    if max(map(len, lines)) <= width:
        return lines
    below = [
        f"Paper's {name}: {', '.join(map(' '.join, zip(sizes, papers, strict=True)))}"
        for name, _, *papers in rows[1:]
        if any(papers)
    ]
    return [*aligned([row[:2] for row in rows], right=1), *([""] if below else []), *below]


def other_lines(subject: Subject, result: Result) -> list[str]:
    """Where the paper's values are from, and what others got, each after a blank line."""
    task = result.outcome.task
    lines = ["", f"Paper: {PAPER}."] if entry_of(task).columns else []
    found = reproductions(task, subject.model.config)
    if found:
        lines += ["", "What others got:"]
    return [*lines, *(f"- {r.model}: {r.figures} ({r.setup}). {r.source}" for r in found)]


def as_values(subject: Subject, result: Result) -> dict[str, Any]:
    """All of it in types that JSON has; accuracies are shares from 0 to 1, but for the paper's, in percent."""
    outcome, config = result.outcome, subject.model.config
    entry = entry_of(outcome.task)
    sizes = sizes_like(config) if entry.columns else ()
    return {
        "task": outcome.task,
        "figures": dict(outcome.figures),
        "settings": dict(outcome.settings),
        "counts": dict(outcome.counts),
        "limit": result.limit,
        "model": {
            "name": subject.name,
            "precision": subject.precision,
            "n_layer": config.n_layer,
            "n_embd": config.n_embd,
            "key": subject.key,
            "device": str(subject.model.device),
        },
        "data": {
            "path": str(result.data.path),
            "bytes": result.data.size,
            "sha256": None if result.data.size is None else result.data.sha256,
        },
        "seconds": result.seconds,
        "tokens_per_second": result.tokens_per_second,
        "resumed": result.resumed,
        "paper": {size: {c: paper_value(size, c) for c in entry.columns} for size in sizes},
        "reproductions": [asdict(each) for each in reproductions(outcome.task, config)],
    }


def _counted(names: str, count: int) -> str:
    return f"{count:,} {names.removesuffix('s') if count == 1 else names}"


def _paper_text(entry: TaskEntry, figure: str, size: str) -> str:
    columns: Sequence[str] = [c for c, name in entry.columns.items() if name == figure]
    if not columns:
        return ""
    unit = " %" if figure.startswith("accuracy") else ""
    return f"{paper_value(size, columns[0]):g}{unit}"
