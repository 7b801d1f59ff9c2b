"""Show figures as text, Markdown, CSV or JSON."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any, Literal

from gpt2xl.errors import counted
from gpt2xl_cli.benchmark.machine import Machine
from gpt2xl_cli.benchmark.measured import Figure, Measured, shortened
from gpt2xl_cli.benchmark.recommendation import Recommendation
from gpt2xl_cli.benchmark.rounds import Settings
from gpt2xl_cli.reporting.tables import aligned, markdown_row

Format = Literal["text", "markdown", "csv", "json"]
TABLE_NAME_WIDTH = 22  # columns of a terminal
COLUMNS = ("bundle", "precision", "bytes", "figure", "size", "unit", "median", "low", "high")


@dataclass(frozen=True)
class Report:
    """All that is known of a measurement."""

    machine: Machine
    settings: Settings
    bundles: Sequence[Measured]


def title_lines(report: Report) -> list[str]:
    """What is measured, where and how: a line each."""
    settings, machine = report.settings, report.machine
    names = max(len(measured.name) for measured in report.bundles)
    bundles = [f"{m.name:{names}}  {m.precision}, {_size(m)}" for m in report.bundles]
    method = method_lines(settings)
    values = [machine.hardware, machine.software, *method, *bundles]
    method_titles = ["Method", *[""] * (len(method) - 1)]
    titles = ["Machine", "Versions", *method_titles, "Bundle" if len(bundles) == 1 else "Bundles"]
    return [f"{title:8}  {value}" for title, value in zip_longest(titles, values, fillvalue="")]


def method_lines(settings: Settings) -> list[str]:
    """Threads, rounds and sizes."""
    threads, rounds, sizes = settings.load.threads, settings.repeats, settings.sizes
    chosen = counted(threads, "thread") if threads else "as many threads as onnxruntime chooses"
    return [
        f"{chosen}; {counted(rounds, 'round')}; no speculation",
        f"{sizes.new_tokens} new tokens a text; batches: prompts of"
        f" {counted(sizes.prompt_tokens[0], 'token')}, included",
    ]


def as_text(report: Report) -> str:
    """A line for each figure of each bundle; those of one quantity stand together."""
    has_names, has_ranges = len(report.bundles) > 1, report.settings.repeats > 1
    rows = [("", "", "median", "min to max")]
    names = shortened([measured.name for measured in report.bundles], TABLE_NAME_WIDTH)
    for label, figures in _by_label(report.bundles):
        for number, (measured, figure) in enumerate(figures):
            first = label if number == 0 else ""
            rows.append((first, names[measured.name], figure.median_text, figure.range_text))
    columns = [0, *([1] if has_names else []), 2, *([3] if has_ranges else [])]
    return "\n".join(aligned([[row[c] for c in columns] for row in rows], right=columns.index(2)))


def as_markdown(report: Report) -> str:
    """A table with a column for each bundle."""
    method = "; ".join(method_lines(report.settings))
    lines = [f"{report.machine.hardware}; {report.machine.software}; {method}."]
    names = [f"{m.name} ({m.precision}, {_size(m)})" for m in report.bundles]
    lines += ["", markdown_row(["", *names]), markdown_row(["---", *["--:"] * len(names)])]
    for label, figures in _by_label(report.bundles):
        found = {measured.name: figure for measured, figure in figures}
        cells = [_cell(found.get(measured.name)) for measured in report.bundles]
        lines.append(markdown_row([f"{label}, {figures[0][1].unit}", *cells]))
    return "\n".join(lines)


def as_csv(report: Report) -> str:
    """A row for each figure, without rounding."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*COLUMNS, "rounds"])
    for measured in report.bundles:
        start = (measured.name, measured.precision, measured.size_bytes)
        for f in measured.figures:
            size = "" if f.size is None else f.size
            values = (f.name, size, f.unit, f.median, f.low, f.high, len(f.values))
            writer.writerow([*start, *values])
    return out.getvalue().rstrip("\n")


def as_json(report: Report, recommendation: Recommendation | None) -> dict[str, Any]:
    """Everything, with the value of each round."""
    settings = report.settings
    values: dict[str, Any] = {
        "machine": asdict(report.machine),
        "settings": asdict(settings),
        "bundles": {measured.folder: _bundle_values(measured) for measured in report.bundles},
    }
    if recommendation:
        values["recommended"] = recommendation.chosen.folder
        values["reasons"] = recommendation.reasons
    return values


def recommendation_lines(recommendation: Recommendation) -> list[str]:
    """The chosen bundle, and a line for each reason."""
    return [
        f"Recommended: {recommendation.chosen.folder}",
        *(f"- {reason}" for reason in recommendation.reasons),
    ]


def _bundle_values(measured: Measured) -> dict[str, Any]:
    parity = measured.parity
    return {
        "name": measured.name,
        "precision": measured.precision,
        "bytes": measured.size_bytes,
        "parity": asdict(parity) if parity else None,
        "notes": measured.notes,
        "figures": [
            asdict(f) | {"median": f.median, "low": f.low, "high": f.high} for f in measured.figures
        ],
    }


def _by_label(bundles: Sequence[Measured]) -> list[tuple[str, list[tuple[Measured, Figure]]]]:
    """The figures of one name and size of all bundles, in the order in which they are measured."""
    longest = max(bundles, key=lambda measured: len(measured.figures))
    keys = [(figure.name, figure.size) for figure in longest.figures]
    found = [[(m, f) for m in bundles if (f := m.figure(*key))] for key in keys]
    return [(figures[0][1].label, figures) for figures in found]


def _size(measured: Measured) -> str:
    """Of all files together, in MB."""
    return f"{measured.size_bytes / 1e6:,.0f} MB"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return ""
    ends = f" ({figure.range_text})" if figure.range_text else ""
    return f"{figure.text(figure.median)}{ends}"
