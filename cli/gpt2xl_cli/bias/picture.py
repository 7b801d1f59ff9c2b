"""Draw a comparison: probabilities of words after two prompts, and their ratios."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from gpt2xl_cli.bias.comparison import Comparison, WordPair

COLOURS = ("#2b6cb0", "#c05621")
HEIGHT = 0.4  # of a bar


def draw(comparison: Comparison, path: Path) -> None:
    """Write a PNG: on the left the probabilities, on the right the ratios, a row for each word."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    pairs = sorted(comparison.words, key=lambda pair: pair.log_ratio)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 2 + 0.3 * len(pairs)), layout="constrained", sharey=True
    )
    _draw_probabilities(left, pairs, comparison.prompts)
    _draw_ratios(right, pairs)
    left.set_yticks(range(len(pairs)), [pair.word for pair in pairs])
    figure.suptitle("The next word, by probability of the model")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _draw_probabilities(axis: Axes, pairs: list[WordPair], prompts: tuple[str, str]) -> None:
    values = ([100 * pair.first for pair in pairs], [100 * pair.second for pair in pairs])
    for number in (0, 1):
        places = [i + HEIGHT * (0.5 - number) for i in range(len(pairs))]
        axis.barh(places, values[number], HEIGHT, label=prompts[number], color=COLOURS[number])
    axis.set_xlabel("probability of the word, %")
    axis.set_title("after each prompt")
    for text in axis.legend(fontsize="small").get_texts():
        text.set_parse_math(False)  # a prompt may hold dollars
    axis.spines[["top", "right"]].set_visible(False)


def _draw_ratios(axis: Axes, pairs: list[WordPair]) -> None:
    logs = [pair.log_ratio for pair in pairs]
    axis.barh(range(len(pairs)), logs, 0.7, color=[COLOURS[log < 0] for log in logs])
    most = max(1.0, *map(abs, logs)) * 1.1
    axis.set_xlim(-most, most)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.xaxis.set_major_formatter(lambda log, _: f"{2 ** abs(log):.3g}")
    axis.axvline(0, color="black", linewidth=0.8)
    axis.set_xlabel("times as probable after the second (left) or the first prompt (right)")
    axis.set_title("ratio of the probabilities")
    axis.spines[["top", "right"]].set_visible(False)
