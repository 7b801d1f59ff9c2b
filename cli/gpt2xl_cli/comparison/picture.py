"""Draw a comparison: change of perplexity and mean KL, by position and by frequency of the token."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from gpt2xl_cli.comparison.report import windows_text
from gpt2xl_cli.comparison.run import Comparison
from gpt2xl_cli.reporting.verdicts import share_text
from gpt2xl_eval.comparison.figures import Bin, by_frequency, by_position

COLOUR = "#1b6ca8"
NAME_WIDTH = 60  # characters


def draw(comparison: Comparison, path: Path) -> None:
    """Write a PNG: bins by position on the left, by frequency on the right."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 7.2), layout="constrained", sharey="row")
    scores = comparison.figures.scores
    columns = (
        ("tokens before it in the window", by_position(scores)),
        ("times that the token is in the data", by_frequency(scores)),
    )
    for number, (name, bins) in enumerate(columns):
        _draw_changes(axes[0][number], bins)
        _draw_kl(axes[1][number], bins)
        axes[1][number].set_xlabel(f"{name}; below: tokens of the bin")
    axes[0][0].set_ylabel("change of perplexity from A to B, %\n(lower is better for B)")
    axes[1][0].set_ylabel("mean KL(A||B), nats\n(lower is closer)")
    figure.suptitle(_title(comparison), ha="left", x=0.012, fontsize=10, parse_math=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _title(comparison: Comparison) -> str:
    first, second = (f"{s.name[-NAME_WIDTH:]}, {s.precision}" for s in comparison.sides)
    figures = comparison.figures
    one, two = figures.perplexities
    return (
        f"How B predicts a text, compared with A\nA: {first}\nB: {second}\n"
        f"{comparison.data}: {windows_text(comparison)}\n"
        f"Perplexity {one:.2f} with A, {two:.2f} with B; mean KL {figures.mean_kl:.2g} nats;"
        f" same most probable token at {share_text(figures.top1_agreement)}."
        " Lines are standard errors."
    )


def _draw_changes(axis: Axes, bins: Sequence[Bin]) -> None:
    changes = [100 * (each.figures.ratio - 1) for each in bins]
    errors = [100 * (each.figures.ratio_error or 0) for each in bins]
    axis.bar(range(len(bins)), changes, 0.7, color=COLOUR)
    axis.errorbar(range(len(bins)), changes, errors, fmt="none", color="black", capsize=3)
    axis.axhline(0, color="black", linewidth=0.8)
    _finish(axis, bins)


def _draw_kl(axis: Axes, bins: Sequence[Bin]) -> None:
    bars = axis.bar(range(len(bins)), [each.figures.mean_kl for each in bins], 0.7, color=COLOUR)
    axis.bar_label(bars, [f"{each.figures.mean_kl:.2g}" for each in bins], fontsize=8, padding=2)
    axis.margins(y=0.12)
    _finish(axis, bins)


def _finish(axis: Axes, bins: Sequence[Bin]) -> None:
    labels = [f"{each.label}\n{each.figures.tokens:,}" for each in bins]
    axis.set_xticks(range(len(bins)), labels, fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
