"""What an export or a verification has found, in words."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpt2xl.bundle.manifest import Manifest
    from gpt2xl_eval.comparison.figures import Figures
    from gpt2xl_export import Check

FORMATS = {
    "fp32": "32-bit floats",
    "fp16": "16-bit floats",
    "int8": "8-bit weights and activations",
    "int8-weight": "8-bit weights",
    "int4": "4-bit weights",
    "fast": "4-bit weights for single tokens, 8-bit ones for prompts and batches",
    "int4-fp16": "4-bit weights, 16-bit floats",
    "auto": "chosen for each matrix",
}
EXACTNESS = (
    (1e-6, "exact but for float rounding"),
    (1e-3, "nearly exact"),
    (1e-2, "close; greedy texts begin alike and differ after a while"),
    (1e-1, "less exact; greedy texts differ early"),
)
"""Mean KL divergence up to which each holds, in nats."""
LOSS = "much less exact; try a finer precision"
CERTAIN_ERRORS = 2.0
"""Standard errors beyond which a difference of perplexities counts."""
REMEDIES = {
    "sums": "a file is not as it was exported; copy the bundle again, or export it again",
    "tokenization": "prompts would be split into wrong tokens; export the bundle again",
    "graphs": "the graphs are not as gpt2xl writes them; export the bundle again",
    "parity": "the bundle computes wrong logits; do not use it, and export it again",
    "source sums": "the bundle was made from other weights; name its own checkpoint with --source",
    "source parity": "the bundle does not compute what the checkpoint does; export it again",
}
OTHER_REMEDY = (
    "the model is not the one that the manifest names, or it computes something else;"
    " export that model again"
)


def precision_text(precision: str) -> str:
    """A precision with what it means.

    >>> precision_text("int8")
    'int8 (8-bit weights and activations)'
    """
    return f"{precision} ({FORMATS[precision]})" if precision in FORMATS else precision


def exported_precision(manifest: "Manifest | None") -> str:
    """The precision of an export and what differs from its defaults, in words."""
    if manifest is None or manifest.precision is None:
        return "unknown precision"
    blocks = f" in blocks of {size}" if (size := manifest.int4_block_size) else ""
    kept = f", {' '.join(manifest.keep)}" if manifest.keep else ""
    return f"{manifest.precision}{blocks}{kept}"


def exactness(manifest: Mapping[str, Any]) -> str:
    """How exact an export is, by the page of text on which it was compared with its checkpoint.

    Args:
        manifest: the content of gpt2xl.json.
    """
    parity = manifest["parity"]
    pages = [parity[kind]["page"] for kind in ("portable", "engine") if kind in parity]
    most = max(pages, key=lambda page: page["positions"])
    kl = most["mean_kl"]
    return (
        f"Same next token as the checkpoint at {share_text(most['top1_agreement'])} of"
        f" {most['positions']} positions, {divergence_text(kl)}: {meaning_of(kl)}."
    )


def choice_text(chosen: Mapping[str, Any]) -> str:
    """What `--precision auto` has chosen, and what that costs.

    Args:
        chosen: of the manifest.
    """
    forms = Counter(matrix["format"] for matrix in chosen["matrices"].values())
    counts = ", ".join(f"{form} for {count}" for form, count in forms.most_common())
    measured, held_out = chosen["measured"], chosen["held_out"]
    return (
        f"Chose {counts} matrices. On {held_out['tokens']} tokens of {held_out['text']}:"
        f" {divergence_text(measured['kl'])}, perplexity {measured['perplexity_loss']:+.2f} %"
        f" (standard error {measured['standard_error']:.2f})."
    )


def divergence_text(mean_kl: float) -> str:
    """A mean KL divergence of the next token's distribution, in nats, with what it is.

    >>> divergence_text(0.00069)
    'probabilities 0.00069 nats apart (mean KL divergence; 0 is equal)'
    """
    return f"probabilities {mean_kl:.2g} nats apart (mean KL divergence; 0 is equal)"


def meaning_of(mean_kl: float) -> str:
    """What a mean KL divergence from the checkpoint, in nats, means for texts.

    >>> meaning_of(0.0005)
    'nearly exact'
    """
    return next((words for limit, words in EXACTNESS if mean_kl <= limit), LOSS)


def of_comparison(figures: "Figures") -> str:
    """What two models, called A and B, mean for each other."""
    percent, error = 100 * (figures.ratio - 1), 100 * (figures.ratio_error or 0)
    if abs(percent) > CERTAIN_ERRORS * error:
        which = f"{abs(percent):.2g} % {'higher' if percent > 0 else 'lower'} with B than with A"
    else:
        which = "the same with A and with B, as far as this text can tell"
    kl = figures.mean_kl
    meaning = (
        meaning_of(kl) if kl <= EXACTNESS[-1][0] else "other models, or a precision that loses much"
    )
    return (
        f"Perplexity is {which}. Same next token at {share_text(figures.top1_agreement)} of"
        f" {figures.tokens} positions, {divergence_text(kl)}: {meaning}."
    )


def share_text(share: float) -> str:
    """A share in percent; 100 % only where it is all.

    >>> share_text(1.0), share_text(0.9996), share_text(0.5)
    ('100 %', '99.9 %', '50.0 %')
    """
    return "100 %" if share == 1 else f"{min(share, 0.999):.1%}".replace("%", " %")


def of_checks(checks: Sequence["Check"]) -> str:
    """What the checks of a bundle have found."""
    counts = {s: sum(check.status == s for check in checks) for s in ("ok", "failed", "skipped")}
    failed = [check.name for check in checks if check.status == "failed"]
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    if not failed:
        return f"All {counts['ok']} checks passed{skipped}: the bundle is sound."
    return (
        f"{counts['ok']} checks passed, {failed[0]} failed{skipped}:"
        f" {REMEDIES.get(failed[0], OTHER_REMEDY)}."
    )
