"""Draw a comparison: a panel a quantity, a group of bars a case, a colour a system.

As a program it draws what ``compare.py --json`` saved:
``python benchmarks/picture.py FIGURES.json FILE.png``.
"""

import argparse
from pathlib import Path
from statistics import median

import matplotlib
from figures import COLUMNS, LOWER_IS_BETTER, Case, Figure, cases_of, read_figures, systems_of
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

WIDTH = 0.8  # of a group of bars


def draw(figures: list[Figure], path: Path) -> None:
    """Draw medians over the rounds; batches get a panel of their own."""
    matplotlib.use("agg")
    single = [case for case in cases_of(figures) if case.rows == 1]
    batches = [case for case in cases_of(figures) if case.rows > 1]
    panels = [("start_s", single[:1]), ("prefill_tok_s", single), ("decode_tok_s", single)]
    panels += [("peak_rss_mb", single), ("decode_tok_s", batches)]
    picture, axes = plt.subplots(2, 3, figsize=(15, 8), layout="constrained")
    filled = [(name, cases) for name, cases in panels if cases]
    for ax, (name, cases) in zip(axes.flat, filled, strict=False):
        _panel(ax, figures, name, cases)
    for ax in axes.flat[len(filled) :]:
        ax.axis("off")
    axes.flat[5].legend(*axes.flat[0].get_legend_handles_labels(), loc="center", frameon=False)
    picture.savefig(path, dpi=120)
    plt.close(picture)


def _panel(ax: Axes, figures: list[Figure], name: str, cases: list[Case]) -> None:
    systems = systems_of(figures)
    colours = _colours(figures)
    width = WIDTH / len(systems)
    for i, system in enumerate(systems):
        heights = [_median(figures, system, case, name) for case in cases]
        places = [group + i * width for group in range(len(cases))]
        bars = ax.bar(places, heights, width, align="edge", label=system, color=colours[system])
        ax.bar_label(bars, [_label(height) for height in heights], fontsize=7)
    better = "lower" if name in LOWER_IS_BETTER else "higher"
    ax.set_title(f"{COLUMNS[name][0]} ({better} is better)")
    ax.set_xticks([group + WIDTH / 2 for group in range(len(cases))], map(_title, cases))
    ax.spines[["top", "right"]].set_visible(False)


def _colours(figures: list[Figure]) -> dict[str, tuple[float, ...]]:
    """Ours in greens, the peers in blues."""
    ours = systems_of([figure for figure in figures if figure.ours])
    peers = [system for system in systems_of(figures) if system not in ours]
    return _shades("Greens", ours) | _shades("Blues", peers)


def _shades(name: str, systems: list[str]) -> dict[str, tuple[float, ...]]:
    shades = plt.colormaps[name]
    return {system: shades(0.85 - 0.6 * i / len(systems)) for i, system in enumerate(systems)}


def _median(figures: list[Figure], system: str, case: Case, name: str) -> float:
    runs = [f for f in figures if f.system == system and f.case == case]
    return median(getattr(run, name) for run in runs) if runs else 0


def _label(height: float) -> str:
    """Nothing for a run that failed."""
    return f"{height:.{0 if height >= 100 else 1}f}" if height else ""


def _title(case: Case) -> str:
    return f"{case.prompt} tokens" if case.rows == 1 else f"{case.rows} rows of {case.prompt}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the figures of a comparison again.")
    parser.add_argument("figures", type=Path, help="what compare.py --json wrote")
    parser.add_argument("picture", type=Path, help="PNG to write")
    options = parser.parse_args()
    draw(read_figures(options.figures), options.picture)
