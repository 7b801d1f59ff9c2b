"""Draw a comparison: a panel a quantity, a group of bars a case, a colour a system.

As a program it draws what ``compare.py --json`` saved, or published medians such as docs/lab/performance.json:
``python benchmarks/picture.py FIGURES.json FILE.png``.
"""

import argparse
import json
from pathlib import Path
from statistics import median
from typing import Any

from figures import LOWER_IS_BETTER, Case, Figure, cases_of, read_figures, systems_of

from gpt2xl_cli.benchmark.picture import Bar, Panel, draw_panels

OURS = ("#1b6ca8", "#0b3c5d", "#5fa3d3", "#9cc9e8")  # blues
PEERS = ("#c05621", "#e6a15c", "#8c3b12", "#f2cf9d")
PANELS = (
    ("start_s", "From the start to the second token", "s"),
    ("prefill_tok_s", "Reading a prompt", "tokens/s"),
    ("decode_tok_s", "Generating", "tokens/s"),
    ("peak_rss_mb", "Peak memory", "MB"),
)


def draw(figures: list[Figure], path: Path, machine: str) -> None:
    """Draw medians over the rounds, and the spread, of a comparison that ran on ``machine``."""
    rounds = len({figure.round for figure in figures})
    lines = [
        *([machine] if machine else []),
        f"Bars are medians of {rounds} interleaved rounds, lines reach from the smallest to the largest.",
    ]
    panels = [_panel(figures, *panel) for panel in PANELS]
    systems = {system: system for system in systems_of(figures)}
    peers = {figure.system for figure in figures if not figure.ours}
    colours = _colours(list(systems), peers)
    draw_panels("gpt2xl beside other systems", lines, panels, systems, path, colours)


def draw_published(content: dict[str, Any], path: Path) -> None:
    """Draw medians of which no spread is kept."""
    panels = [
        Panel(
            panel["title"],
            panel["axis"],
            {
                group: {
                    system: Bar(value, f"{value:#.3g}".rstrip("."))
                    for system, value in values.items()
                }
                for group, values in panel["groups"].items()
            },
        )
        for panel in content["panels"]
    ]
    systems = content["systems"]
    colours = _colours(list(systems), set(content["peers"]))
    draw_panels(content["title"], content["lines"], panels, systems, path, colours)


def _panel(figures: list[Figure], name: str, title: str, unit: str) -> Panel:
    cases = cases_of(figures)
    groups = {_title(case): _bars([f for f in figures if f.case == case], name) for case in cases}
    better = "lower" if name in LOWER_IS_BETTER else "higher"
    return Panel(title, f"{unit} ({better} is better)", groups)


def _bars(figures: list[Figure], name: str) -> dict[str, Bar]:
    bars = {}
    for system in systems_of(figures):
        values = [getattr(figure, name) for figure in figures if figure.system == system]
        value = median(values)
        bars[system] = Bar(value, _number(value), min(values), max(values))
    return bars


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _colours(systems: list[str], peers: set[str]) -> list[str]:
    """Ours in blues, the peers in browns."""
    ours = [system for system in systems if system not in peers]
    others = [system for system in systems if system in peers]
    return [
        PEERS[others.index(s) % len(PEERS)] if s in peers else OURS[ours.index(s) % len(OURS)]
        for s in systems
    ]


def _title(case: Case) -> str:
    return f"{case.prompt} tokens" if case.rows == 1 else f"{case.rows} rows of {case.prompt}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the figures of a comparison.")
    parser.add_argument("figures", type=Path, help="what compare.py --json wrote, or medians")
    parser.add_argument("picture", type=Path, help="PNG to write")
    parser.add_argument("--machine", default="", help="where compare.py ran, for the title")
    options = parser.parse_args()
    content = json.loads(options.figures.read_text())
    if isinstance(content, dict):
        draw_published(content, options.picture)
    else:
        draw(read_figures(options.figures), options.picture, options.machine)
