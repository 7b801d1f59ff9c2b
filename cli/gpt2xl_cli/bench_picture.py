"""The figures of gpt2xl bench as bars."""

from pathlib import Path
from typing import Any

import matplotlib as mpl

from gpt2xl_cli.commands.bench import label

PANELS = ("prefill", "decode", "batch", "peak memory")


def draw(results: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A panel for each kind of figure, a bar for each bundle; PNG."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(PANELS), figsize=(13, 3.6), layout="constrained")
    for axis, panel in zip(axes, PANELS, strict=True):
        _panel(axis, panel, results)
    axes[0].legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _panel(axis: Any, panel: str, results: dict[str, list[dict[str, Any]]]) -> None:
    width, unit = 0.8 / len(results), ""
    for number, (folder, figures) in enumerate(results.items()):
        shown = [figure for figure in figures if figure["name"] == panel]
        unit = shown[0]["unit"] if shown else unit
        places = [i + width * (number - (len(results) - 1) / 2) for i in range(len(shown))]
        bars = axis.bar(places, [f["value"] for f in shown], width, label=Path(folder).name)
        axis.bar_label(bars, fmt="%.0f", fontsize="small")
        axis.set_xticks(range(len(shown)), [label(f).partition(", ")[2] for f in shown])
    axis.set_title(f"{panel}, {unit}")
    axis.margins(y=0.15)
