"""Draw the figures of gpt2xl bench as bars."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from gpt2xl.speed import Speed

PANELS = ("prefill", "decode", "batch", "peak memory")


def draw(results: Mapping[str, Sequence[Speed]], path: Path) -> None:
    """Write a PNG with a panel for each kind of figure and a bar for each bundle."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(PANELS), figsize=(13, 3.6), layout="constrained")
    for axis, panel in zip(axes, PANELS, strict=True):
        _draw_panel(axis, panel, results)
    axes[0].legend(fontsize="small")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_panel(axis: Axes, panel: str, results: Mapping[str, Sequence[Speed]]) -> None:
    width, unit = 0.8 / len(results), ""
    for number, (folder, speeds) in enumerate(results.items()):
        shown = [speed for speed in speeds if speed.name == panel]
        unit = shown[0].unit if shown else unit
        places = [i + width * (number - (len(results) - 1) / 2) for i in range(len(shown))]
        bars = axis.bar(places, [s.value for s in shown], width, label=Path(folder).name)
        axis.bar_label(bars, fmt="%.0f", fontsize="small")
        axis.set_xticks(range(len(shown)), [s.label.partition(", ")[2] for s in shown])
    axis.set_title(f"{panel}, {unit}")
    axis.margins(y=0.15)
