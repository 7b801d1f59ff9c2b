"""A comparison as tables and as JSON."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from gpt2xl_cli.comparison.run import Comparison
from gpt2xl_cli.reporting.token_names import text_of, token_name
from gpt2xl_cli.reporting.verdicts import share_text
from gpt2xl_eval.comparison.figures import (
    Bin,
    Figures,
    by_frequency,
    by_position,
    most_different,
)

CONTEXT_TOKENS = 24
"""Most tokens that are shown of the text before a token."""
TEXT_WIDTH, OTHER_COLUMNS = 60, 60
"""Most characters of that text, and those of the line beside it."""


def head_lines(comparison: Comparison) -> list[str]:
    """What is compared on what."""
    sides = [f"{side.name}, {side.precision}" for side in comparison.sides]
    return [
        f"A     {sides[0]}",
        f"B     {sides[1]}",
        f"Data  {comparison.data}, {windows_text(comparison)}",
        "",
        *(f"{name:27}  {value}" for name, value in _figures(comparison.figures)),
    ]


def windows_text(comparison: Comparison) -> str:
    """How the text is read."""
    count, context = f"{comparison.figures.tokens:,}", f"{comparison.context:,}"
    if comparison.stride == comparison.context:
        return f"{count} tokens in disjoint windows of {context}"
    return f"{count} tokens in windows of {context}, {comparison.stride:,} of them new"


def tables(comparison: Comparison, shown: int, width: int) -> Iterator[tuple[str, Table]]:
    """Tables with their titles.

    Args:
        comparison: what they show: bins by position and by frequency, and the tokens that differ most.
        shown: number of these tokens.
        width: columns of the terminal.
    """
    scores = comparison.figures.scores
    yield "By the number of tokens before it in the window", _bins("before", by_position(scores))
    yield "By how often the token is in the data", _bins("times", by_frequency(scores))
    if shown:
        yield "The tokens with the largest KL", _differences(comparison, shown, width)


def as_values(comparison: Comparison, shown: int) -> dict[str, Any]:
    """Everything in types that JSON has."""
    scores = comparison.figures.scores
    return {
        "models": [asdict(side) for side in comparison.sides],
        "data": comparison.data,
        "context": comparison.context,
        "stride": comparison.stride,
        **_values(comparison.figures),
        "by_position": _bin_values(by_position(scores)),
        "by_frequency": _bin_values(by_frequency(scores)),
        "most_different": [_difference(comparison, i) for i in most_different(scores, shown)],
    }


def _figures(figures: Figures) -> list[tuple[str, str]]:
    first, second = figures.perplexities
    error = "" if figures.ratio_error is None else f" ± {figures.ratio_error:.1g}"
    return [
        ("Perplexity of A", f"{first:.4f}"),
        ("Perplexity of B", f"{second:.4f}"),
        ("B / A, with standard error", f"{figures.ratio:.5f}{error}"),
        ("KL(A||B), mean", f"{figures.mean_kl:.2g} nats"),
        ("KL(A||B), 99th percentile", f"{figures.kl_99:.2g} nats"),
        ("Same most probable token", share_text(figures.top1_agreement)),
    ]


def _table(names: Sequence[str], right: Collection[str]) -> Table:
    table = Table(box=None, header_style="", pad_edge=False, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def _bins(name: str, bins: Sequence[Bin]) -> Table:
    names = [name, "tokens", "ppl A", "ppl B", "B / A", "±", "mean KL", "same top"]
    table = _table(names, right=names)
    for each in bins:
        found = each.figures
        table.add_row(
            each.label,
            f"{found.tokens:,}",
            *(f"{value:.2f}" for value in found.perplexities),
            f"{found.ratio:.4f}",
            "" if found.ratio_error is None else f"{found.ratio_error:.1g}",
            f"{found.mean_kl:.2g}",
            share_text(found.top1_agreement),
        )
    return table


def _differences(comparison: Comparison, shown: int, width: int) -> Table:
    names = ["KL", "text", "next", "A", "B", "A prefers", "B prefers"]
    table = _table(names, right=("A", "B"))
    text_width = max(12, min(TEXT_WIDTH, width - OTHER_COLUMNS))
    for index in most_different(comparison.figures.scores, shown):
        found = _difference(comparison, index)
        text = found["text"]
        table.add_row(
            f"{found['kl']:.2g}",
            text if len(text) <= text_width else f"…{text[1 - text_width :]}",
            found["token"],
            *(_percent(probability) for probability in found["probabilities"]),
            *(preferred["token"] for preferred in found["preferred"]),
        )
    return table


def _difference(comparison: Comparison, index: int) -> dict[str, Any]:
    scores, tokenizer = comparison.figures.scores, comparison.tokenizer
    before = min(CONTEXT_TOKENS, int(scores.preceding[index]))
    tops = zip(scores.top_ids[:, index], scores.top_logprobs[:, index], strict=True)
    return {
        "place": index,
        "kl": float(scores.kl[index]),
        "text": text_of(comparison.ids[index + 1 - before : index + 1], tokenizer),
        "token": token_name(int(scores.ids[index]), tokenizer),
        "probabilities": [math.exp(value) for value in scores.logprobs[:, index]],
        "preferred": [
            {"token": token_name(int(token_id), tokenizer), "probability": math.exp(value)}
            for token_id, value in tops
        ],
    }


def _percent(probability: float) -> str:
    """In percent, without scientific notation.

    >>> _percent(0.34), _percent(0.0001)
    ('34.0 %', '<0.1 %')
    """
    return f"{probability:.1%}".replace("%", " %") if probability >= 0.001 else "<0.1 %"


def _bin_values(bins: Sequence[Bin]) -> list[dict[str, Any]]:
    return [{"first": b.first, "last": b.last, **_values(b.figures)} for b in bins]


def _values(figures: Figures) -> dict[str, Any]:
    return {
        "tokens": figures.tokens,
        "perplexities": list(figures.perplexities),
        "ratio": figures.ratio,
        "ratio_error": figures.ratio_error,
        "mean_kl": figures.mean_kl,
        "kl_99": figures.kl_99,
        "top1_agreement": figures.top1_agreement,
    }
