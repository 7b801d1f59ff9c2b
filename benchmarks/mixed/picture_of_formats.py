"""Draw loss over size, and the formats that auto chose by layer and kind."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

if TYPE_CHECKING:
    from curve import Point
    from matplotlib.axes import Axes

mpl.use("Agg")
FORMATS = ("int4-256", "int4-128", "int4-64", "int4-32", "int8", "int8-weight", "fp32")
COLOURS = ("#08306b", "#2171b5", "#6baed6", "#c6dbef", "#fdd0a2", "#f16913", "#7f2704")
KINDS = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
HEADS = ("wte.weight", "lm_head.weight")
AUTO = "auto"


def draw(points: Sequence["Point"], path: Path) -> None:
    """Two charts above, a map of formats for each size of auto below."""
    chosen = [point for point in points if point.name == AUTO]
    figure = Figure(figsize=(11, 8), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(3, 2))[:, 0]
    left, right = above.subplots(1, 2)
    _curve(left, points, lambda p: p.kl, "mean KL to float32, nats (held-out text)")
    left.set_yscale("log")
    _curve(right, points, lambda p: p.perplexity_loss, "increase of perplexity, %")
    left.legend(fontsize=8)
    axes = below.subplots(1, len(chosen), squeeze=False)[0]
    for ax, point in zip(axes, chosen, strict=True):
        _map(ax, point)
    patches = [Patch(color=c, label=f) for f, c in zip(FORMATS, COLOURS, strict=True)]
    below.legend(handles=patches, loc="outside lower center", ncols=len(FORMATS), fontsize=8)
    figure.savefig(path, dpi=110)


def _curve(
    ax: "Axes", points: Sequence["Point"], value: Callable[["Point"], float], label: str
) -> None:
    for name, style in ((AUTO, "o-"), ("auto, nearest", "s--")):
        own = sorted((p for p in points if p.name == name), key=lambda p: p.size)
        ax.plot([p.size / 1e6 for p in own], [value(p) for p in own], style, label=name)
    for point in points:
        if not point.name.startswith(AUTO) and point.name != "fp32":
            ax.plot(point.size / 1e6, value(point), "x", color="#c05621")
            ax.annotate(
                point.name, (point.size / 1e6, value(point)), fontsize=7, xytext=(3, 4),
                textcoords="offset points",
            )  # fmt: skip
    ax.set_xlabel("size of the bundle, MB")
    ax.set_ylabel(label)
    ax.grid(alpha=0.3)


def _map(ax: "Axes", point: "Point") -> None:
    layers = 1 + max(int(name.split(".")[1]) for name in point.formats if name.startswith("h."))
    heads = [name for name in HEADS if name in point.formats]
    grid = np.full((len(KINDS) + len(heads), layers), np.nan)
    for row, kind in enumerate(KINDS):
        for layer in range(layers):
            grid[row, layer] = FORMATS.index(point.formats[f"h.{layer}.{kind}.weight"])
    for row, name in enumerate(heads, len(KINDS)):
        grid[row, :] = FORMATS.index(point.formats[name])
    ax.imshow(grid, cmap=ListedColormap(COLOURS), vmin=-0.5, vmax=len(FORMATS) - 0.5, aspect="auto")
    ax.set_yticks(range(len(grid)), [*KINDS, *(name.removesuffix(".weight") for name in heads)])
    ax.tick_params(labelsize=7)
    ax.set_xlabel("layer", fontsize=8)
    ax.set_title(f"auto, {point.size / 1e6:.2f} MB", fontsize=9)
