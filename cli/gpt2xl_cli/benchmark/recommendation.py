"""Which bundle to use, and why, in words and figures."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpt2xl_cli.benchmark.measured import Figure, Measured

NEARLY_AS_FAST = 0.9  # of the fastest bundle's tokens per second
CLEARLY_BETTER = 1.1  # times as good as the chosen bundle

FigureOf = Callable[[Measured], Figure | None]


@dataclass(frozen=True)
class Recommendation:
    """The chosen bundle and the reasons, a sentence each."""

    chosen: Measured
    reasons: list[str]


def recommend(bundles: Sequence[Measured]) -> Recommendation | None:
    """Choose the bundle closest to its checkpoint among those that decode (nearly) fastest.

    Args:
        bundles: two or more with figures.

    Returns:
        None where decoding has not been measured.
    """
    rates = {b.name: figure.median for b in bundles if (figure := _decode(b))}
    if not rates:
        return None
    fastest = max(rates.values())
    fast = [b for b in bundles if rates.get(b.name, 0.0) >= NEARLY_AS_FAST * fastest]
    chosen = min(fast, key=_mean_kl)
    others = [b for b in bundles if b is not chosen]
    if rates[chosen.name] == fastest:
        how = "the fastest for a single text"
    else:
        how = f"at least {NEARLY_AS_FAST:.0%} of the fastest, and closer to its checkpoint"
    reasons = [
        _beside(f"It decodes {{}}, {how}", chosen, others, _decode),
        _doubt(chosen, others),
        _beside("It takes {} of memory with one text", chosen, others, _memory),
        _loss(chosen, others),
        _better("For batches use", chosen, others, _batch),
        _better("For the least memory use", chosen, others, _memory),
        _different_models(bundles),
    ]
    return Recommendation(chosen, [reason for reason in reasons if reason])


def _different_models(bundles: Sequence[Measured]) -> str:
    """What a comparison of bundles of several models leaves open."""
    shapes = {(b.bundle.config.n_layer, b.bundle.config.n_embd) for b in bundles}
    if len(shapes) == 1:
        return ""
    return "These are different models: nothing here says which of them writes the better texts."


def _decode(measured: Measured) -> Figure | None:
    return measured.figure("decode")


def _doubt(chosen: Measured, others: Sequence[Measured]) -> str:
    """Whether the rounds leave the order of speeds open."""
    own = _decode(chosen)
    close = [
        b.name
        for b in others
        if own and (f := _decode(b)) and f.high > own.low and own.high > f.low
    ]
    if not close:
        return ""
    return (
        f"Its rounds overlap with those of {' and '.join(close)}: more --repeats make this surer."
    )


def _memory(measured: Measured) -> Figure | None:
    return measured.figure("peak memory", 1)


def _batch(measured: Measured) -> Figure | None:
    """That of the most rows."""
    return measured.last("batch")


def _mean_kl(measured: Measured) -> float:
    """Infinite if the manifest does not say."""
    return measured.parity.mean_kl if measured.parity else math.inf


def _loss(chosen: Measured, others: Sequence[Measured]) -> str:
    if chosen.parity is None:
        return "How close it is to its checkpoint is not known: it has no manifest."
    shown = [f"{b.name} {b.parity.top1_agreement:.0%}" for b in others if b.parity]
    return (
        "Its most probable token is its checkpoint's at"
        f" {chosen.parity.top1_agreement:.0%} of the positions that the export checked"
        f"{_in_parentheses(shown)}; mean KL {chosen.parity.mean_kl:.2g} nats."
    )


def _beside(sentence: str, chosen: Measured, others: Sequence[Measured], of: FigureOf) -> str:
    """``sentence`` with the figure of the chosen bundle, and those of the others in parentheses."""
    if (figure := of(chosen)) is None:
        return ""
    shown = [f"{b.name} {found.median_text}" for b in others if (found := of(b))]
    return f"{sentence.format(figure.median_text)}{_in_parentheses(shown)}."


def _better(advice: str, chosen: Measured, others: Sequence[Measured], of: FigureOf) -> str:
    """A sentence that names the bundle that is best at a figure, if it is clearly better; else nothing."""
    own, found = of(chosen), [(b.name, figure) for b in others if (figure := of(b))]
    if own is None or not found:
        return ""
    name, best = max(found, key=lambda pair: _gain(pair[1], own))
    if _gain(best, own) < CLEARLY_BETTER:
        return ""
    return f"{advice} {name}: {best.label}: {best.median_text} ({chosen.name} {own.median_text})."


def _gain(figure: Figure, over: Figure) -> float:
    """How many times as good a figure is."""
    ratio = figure.median / over.median
    return ratio if figure.higher_is_better else 1 / ratio


def _in_parentheses(texts: Sequence[str]) -> str:
    return f" ({', '.join(texts)})" if texts else ""
