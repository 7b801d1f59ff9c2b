"""Draw figures as bars: a panel for each quantity, a group for each size, a colour for each system."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
from matplotlib import patches
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing

from gpt2xl.speed import Quantity
from gpt2xl_cli.benchmark.measured import Figure, Measured, shortened
from gpt2xl_cli.benchmark.report import Report, method_lines

PANELS: tuple[tuple[Quantity, str], ...] = (
    ("prefill", "Reading a prompt"),
    ("decode", "Generating one text"),
    ("batch", "Generating several texts at a time"),
    ("peak memory", "Peak memory"),
)
COLOURS = ("#1b6ca8", "#e08214", "#3a8f5c", "#8e5ea2", "#c0504d", "#6f6f6f", "#9c7a2b", "#3fa7a7")
GROUP_WIDTH = 0.82  # of the distance between two groups
NAME_WIDTH, LEGEND_WIDTH, TITLE_WIDTH = 40, 75, 145  # characters
PANEL_WIDTH, PANEL_HEIGHT, LINE = 5.6, 3.0, 0.19  # inches
MARGIN = 0.015  # of the width


@dataclass(frozen=True)
class Bar:
    """A value of one system."""

    value: float
    text: str
    low: float | None = None
    """The smallest value measured; None where only the median is known."""
    high: float | None = None


@dataclass(frozen=True)
class Panel:
    """One quantity."""

    title: str
    axis: str
    """The quantity's unit and which way is better."""
    groups: dict[str, dict[str, Bar]]
    """By what they are measured for, then by system."""


def draw(report: Report, path: Path) -> None:
    """Write a PNG of the figures."""
    panels = [
        panel for name, title in PANELS if (panel := _panel(report.bundles, name, title)).groups
    ]
    short = shortened([measured.name for measured in report.bundles], NAME_WIDTH)
    names = {m.name: f"{short[m.name]}: {m.precision}" for m in report.bundles}
    repeats = report.settings.repeats
    spread = f"Bars are medians of {repeats} rounds, lines reach from the smallest to the largest."
    lines = [report.machine.hardware, report.machine.software, *method_lines(report.settings)]
    if repeats > 1:
        lines.append(spread)
    draw_panels("Speed and memory of gpt2xl", lines, panels, names, path)


def draw_panels(
    title: str,
    lines: Sequence[str],
    panels: Sequence[Panel],
    systems: Mapping[str, str],
    path: Path,
    colours: Sequence[str] = COLOURS,
) -> None:
    """Write a PNG.

    Args:
        title: what the picture is about.
        lines: what the figures depend on, below the title.
        panels: at least one.
        systems: what the legend calls each system.
        path: of the PNG.
        colours: of the systems, repeated where there are fewer.
    """
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    text = [part for line in lines for part in textwrap.wrap(line, TITLE_WIDTH)]
    columns, legend_columns = min(len(panels), 2), 2
    rows, legend_rows = -(-len(panels) // columns), -(-len(systems) // legend_columns)
    top, bottom = 0.6 + LINE * len(text), 0.2 + LINE * legend_rows  # inches
    width, height = PANEL_WIDTH * 2, top + PANEL_HEIGHT * rows + bottom
    drawing = plt.figure(figsize=(width, height))
    area = (MARGIN, bottom / height, 1 - 2 * MARGIN, 1 - (top + bottom) / height)
    drawing.set_layout_engine("constrained", rect=area, h_pad=0.1, w_pad=0.1)
    drawing.text(MARGIN, 1 - 0.15 / height, title, fontsize=15, fontweight="bold", va="top")
    _add_lines(drawing, text, 1 - 0.5 / height)
    colour = dict(zip(systems, cycle(colours), strict=False))
    grid = drawing.add_gridspec(rows, columns)
    for number, panel in enumerate(panels):
        row, column = divmod(number, columns)
        is_alone = number == len(panels) - 1 and column == 0
        axis = drawing.add_subplot(grid[row, :] if is_alone else grid[row, column])
        _draw_panel(axis, panel, colour)
    _add_legend(drawing, systems, colour, legend_columns)
    drawing.savefig(path, dpi=120)
    plt.close(drawing)


def _panel(bundles: Sequence[Measured], name: Quantity, title: str) -> Panel:
    found = [(m, figure) for m in bundles for figure in m.figures if figure.name == name]
    groups: dict[str, dict[str, Bar]] = {}
    for size in sorted({figure.size or 0 for _, figure in found}):
        ours = [(m.name, figure) for m, figure in found if (figure.size or 0) == size]
        label = ours[0][1].label.partition(", ")[2]
        groups[label] = {system: _bar(figure) for system, figure in ours}
    unit = found[0][1].unit if found else ""
    better = "higher" if found and found[0][1].higher_is_better else "lower"
    return Panel(title, f"{unit} ({better} is better)", groups)


def _bar(figure: Figure) -> Bar:
    has_spread = len(figure.values) > 1
    return Bar(
        figure.median,
        figure.text(figure.median),
        figure.low if has_spread else None,
        figure.high if has_spread else None,
    )


def _draw_panel(axis: Axes, panel: Panel, colour: Mapping[str, str]) -> None:
    most = max(len(bars) for bars in panel.groups.values())
    width = GROUP_WIDTH / max(most, 2)  # not wider where there is one system only
    for group, bars in enumerate(panel.groups.values()):
        present = [system for system in colour if system in bars]
        for number, system in enumerate(present):
            place = group + width * (number - (len(present) - 1) / 2)
            _draw_bar(axis, place, width, bars[system], colour[system])
    axis.set_title(panel.title, loc="left", fontweight="bold")
    axis.set_ylabel(panel.axis)
    axis.set_xticks(range(len(panel.groups)), list(panel.groups))
    axis.set_xlim(-0.6, len(panel.groups) - 0.4)
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(y=0.12)


def _draw_bar(axis: Axes, place: float, width: float, bar: Bar, colour: str) -> None:
    axis.bar(place, bar.value, width * 0.94, color=colour)
    top = bar.value
    if bar.low is not None and bar.high is not None:
        ends = [[bar.value - bar.low], [bar.high - bar.value]]
        axis.errorbar(place, bar.value, ends, color="black", linewidth=1, capsize=3)
        top = bar.high
    axis.annotate(
        bar.text, (place, top), (0, 2), textcoords="offset points", ha="center", fontsize=8
    )


def _add_lines(drawing: Drawing, lines: Sequence[str], top: float) -> None:
    for number, line in enumerate(lines):
        place = top - number * LINE / drawing.get_figheight()
        drawing.text(MARGIN, place, line, fontsize=9, va="top", color="#444444", parse_math=False)


def _add_legend(
    drawing: Drawing, systems: Mapping[str, str], colour: Mapping[str, str], columns: int
) -> None:
    handles = [patches.Patch(color=colour[system]) for system in systems]
    labels = [name[:LEGEND_WIDTH] for name in systems.values()]
    legend = drawing.legend(
        handles, labels, loc="lower center", ncols=columns, frameon=False, fontsize=9
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a folder's name may hold dollars
