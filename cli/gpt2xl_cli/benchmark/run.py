"""Run gpt2xl bench: measure, print, draw."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from gpt2xl_cli.benchmark import report as shown
from gpt2xl_cli.benchmark.machine import this_machine
from gpt2xl_cli.benchmark.measured import Measured, opened
from gpt2xl_cli.benchmark.recommendation import Recommendation, recommend
from gpt2xl_cli.benchmark.rounds import Settings, measure_rounds
from gpt2xl_cli.terminal import echo_line


@dataclass(frozen=True)
class Output:
    """What is made of the figures."""

    format: shown.Format
    picture: Path | None = None
    """PNG file to draw into."""
    recommend: bool = False
    quiet: bool = False


def run_bench(
    folders: Mapping[Path, str], settings: Settings, output: Output, *, sizes_are_given: bool
) -> None:
    """Measure the bundles in ``folders`` and report the figures.

    Args:
        folders: bundles, and their names.
        settings: how to measure.
        output: what to report, and how.
        sizes_are_given: whether a prompt that does not fit a context is an error; otherwise it is left out.

    Raises:
        BundleError: a folder is no bundle, or one cannot be loaded.
        RequestError: a prompt does not fit.
    """
    bundles = opened(folders)
    if sizes_are_given:
        for measured in bundles:
            settings.sizes.check(measured.bundle.config.n_positions)
    report = shown.Report(this_machine(), settings, bundles)
    if output.format == "text":
        for line in [*shown.title_lines(report), ""]:
            echo_line(line)
    measure_rounds(bundles, settings, show_progress=not output.quiet)
    recommendation = recommend(bundles) if output.recommend else None
    _print(report, output.format, recommendation)
    _print_notes(bundles)
    if output.picture:
        from gpt2xl_cli.benchmark.picture import draw

        draw(report, output.picture)
        if not output.quiet:
            echo_line(f"Wrote {output.picture}.", err=True)


def _print(
    report: shown.Report, format_: shown.Format, recommendation: Recommendation | None
) -> None:
    if format_ == "json":
        typer.echo(json.dumps(shown.as_json(report, recommendation)))
        return
    as_format = {"text": shown.as_text, "markdown": shown.as_markdown, "csv": shown.as_csv}
    for line in as_format[format_](report).splitlines():
        echo_line(line)
    if recommendation:
        lines = shown.recommendation_lines(recommendation)
        for line in lines if format_ == "csv" else ["", *lines]:
            echo_line(line, err=format_ == "csv", indent=2)


def _print_notes(bundles: Sequence[Measured]) -> None:
    for measured in bundles:
        for note in measured.notes:
            echo_line(f"note: {measured.name}: {note}", err=True, indent=2)
