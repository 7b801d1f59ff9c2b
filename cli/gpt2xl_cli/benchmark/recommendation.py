"""Which bundle to use, and why, in words and figures."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpt2xl_cli.benchmark.measured import Figure, Measured
from gpt2xl_cli.reporting.verdicts import divergence_text, meaning_of

NEARLY_AS_FAST = 0.9  # of the fastest bundle's tokens per second
CLEARLY_BETTER = 1.1  # times as good as the chosen bundle

FigureOf = Callable[[Measured], Figure | None]


@dataclass(frozen=True)
class Recommendation:
    """The chosen bundle and the reasons, a sentence each."""

    chosen: Measured
    reasons: list[str]


def recommend(bundles: Sequence[Measured]) -> Recommendation | None:
    """Choose the bundle closest to its checkpoint among those that decode (nearly) fastest; of equal ones the smallest.

    Args:
        bundles: two or more with figures.

    Returns:
        None where decoding has not been measured.
    """
    rates = {b.name: figure for b in bundles if (figure := _decode(b))}
    if not rates:
        return None
    fastest = max((b for b in bundles if b.name in rates), key=lambda b: rates[b.name].median)
    most = rates[fastest.name]
    fast = [b for b in bundles if (f := rates.get(b.name)) and _is_nearly_as_fast(f, most)]
    chosen = min(fast, key=lambda b: (_mean_kl(b), b.size_bytes))
    others = [b for b in bundles if b is not chosen]
    reasons = [
        _beside(f"It decodes {{}}, {_how_fast(chosen, fastest)}", chosen, others, _decode),
        _doubt(chosen, [b for b in fast if b is not chosen]),
        _beside("It takes {} of memory with one text", chosen, others, _memory),
        _loss(chosen, others),
        _better("For batches use", chosen, others, _batch),
        _better("For the least memory use", chosen, others, _memory),
        _different_models(bundles),
    ]
    return Recommendation(chosen, [reason for reason in reasons if reason])


def _is_nearly_as_fast(figure: Figure, fastest: Figure) -> bool:
    return figure.median >= NEARLY_AS_FAST * fastest.median or _overlap(figure, fastest)


def _how_fast(chosen: Measured, fastest: Measured) -> str:
    if chosen is fastest:
        return "the fastest for a single text"
    own, most = _decode(chosen), _decode(fastest)
    if own and most and _overlap(own, most):
        return "not clearly slower than the fastest"
    why = "closer to its checkpoint" if _mean_kl(chosen) < _mean_kl(fastest) else "smaller"
    return f"at least {NEARLY_AS_FAST:.0%} of the fastest, and {why}"


def _overlap(one: Figure, other: Figure) -> bool:
    """Whether the rounds leave open which of two is faster."""
    return one.high > other.low and other.high > one.low


def _different_models(bundles: Sequence[Measured]) -> str:
    """What a comparison of bundles of several models leaves open."""
    shapes = {(b.bundle.config.n_layer, b.bundle.config.n_embd) for b in bundles}
    if len(shapes) == 1:
        return ""
    return "These are different models: nothing here says which of them writes the better texts."


def _decode(measured: Measured) -> Figure | None:
    return measured.figure("decode")


def _doubt(chosen: Measured, others: Sequence[Measured]) -> str:
    """Whether the rounds leave the order of speeds open, and what decided then."""
    own = _decode(chosen)
    close = [b for b in others if own and (f := _decode(b)) and _overlap(f, own)]
    if own and len(own.values) == 1:
        return "One round does not show how sure that is: more --repeats do."
    if not close:
        return ""
    names = " and ".join(b.name for b in close)
    is_closer = all(_mean_kl(chosen) < _mean_kl(b) for b in close)
    why = "closer to its checkpoint" if is_closer else "the smallest of the most exact"
    return (
        f"Its rounds overlap with those of {names}, so which is faster is open; it is chosen because it is {why}."
        " More --repeats make this surer."
    )


def _memory(measured: Measured) -> Figure | None:
    return measured.figure("peak memory", 1)


def _batch(measured: Measured) -> Figure | None:
    """That of the most texts at a time."""
    return measured.last("batch")


def _mean_kl(measured: Measured) -> float:
    """Infinite if the manifest does not say."""
    return measured.parity.mean_kl if measured.parity else math.inf


def _loss(chosen: Measured, others: Sequence[Measured]) -> str:
    if chosen.parity is None:
        return "How close it is to its checkpoint is not known: it has no manifest."
    shown = [f"{b.name} {b.parity.top1_agreement:.0%}" for b in others if b.parity]
    kl = chosen.parity.mean_kl
    return (
        "Its most probable token is its checkpoint's at"
        f" {chosen.parity.top1_agreement:.0%} of the positions that the export checked"
        f"{_in_parentheses(shown)}, {divergence_text(kl)}: {meaning_of(kl)}."
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
