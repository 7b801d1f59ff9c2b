"""Run two models over a text, with a progress bar."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt2xl import LoadOptions, Model, RequestError, Tokenizer, load
from gpt2xl.text.prompts import text_ids
from gpt2xl_cli.progress import ProgressBars
from gpt2xl_cli.signals import cleaning_up
from gpt2xl_eval.comparison.figures import Figures
from gpt2xl_eval.comparison.running import check_comparable, compare
from gpt2xl_eval.comparison.token_scores import joined
from gpt2xl_eval.corpora.windows import Windows


@dataclass(frozen=True)
class Extent:
    """Which tokens of a text are scored, and after how many others; None for the default."""

    limit: int | None
    """Tokens that are scored at most."""
    context: int | None
    """Tokens of a window; None for the shorter context of the models."""
    stride: int | None
    """Tokens that each window but the first scores; None for all but one."""


@dataclass(frozen=True)
class Side:
    """One of the two models."""

    name: str
    precision: str


@dataclass(frozen=True)
class Comparison:
    """What two models say of a text."""

    sides: tuple[Side, Side]
    data: str
    """Name of the text."""
    context: int
    stride: int
    ids: Sequence[int]
    """The start token, then those that are scored."""
    figures: Figures
    tokenizer: Tokenizer


def run(
    folders: Sequence[Path],
    names: Sequence[str],
    text: str,
    data: str,
    extent: Extent,
    options: LoadOptions,
    *,
    quiet: bool,
) -> Comparison:
    """Load both models and score ``text`` with them.

    Raises:
        RequestError: the vocabularies differ, the text has no tokens, or ``extent`` is out of range.
    """
    with cleaning_up(), ProgressBars(quiet=quiet) as bars:
        bars.say(f"Comparing {names[0]} and {names[1]} on {data}")
        first, second = (load(folder, options) for folder in folders)
        check_comparable(first, second)
        ids = _ids(first, text, data, extent.limit)
        context, stride = _windows(first, second, extent)
        parts, done = [], 0
        for part in compare(first, second, Windows(ids, context, stride)):
            parts.append(part)
            done += len(part)
            bars.show("tokens", done, len(ids) - 1)
    sides = (
        Side(names[0], _precision(first)),
        Side(names[1], _precision(second)),
    )
    figures = Figures(joined(parts))
    return Comparison(sides, data, context, stride, ids, figures, first.tokenizer)


def _ids(model: Model, text: str, data: str, limit: int | None) -> list[int]:
    """The start token and what is scored."""
    ids = text_ids(text, model.tokenizer, model.config)[:limit]
    if not ids:
        raise RequestError(f"{data} is empty: there are no tokens to score.")
    return [*model.prompt_ids(""), *ids]


def _windows(first: Model, second: Model, extent: Extent) -> tuple[int, int]:
    """Context and stride."""
    longest = min(first.config.n_positions, second.config.n_positions)
    context = longest if extent.context is None else extent.context
    if not 1 <= context <= longest:
        raise RequestError(f"--context has to be from 1 to {longest}, but is {context}.")
    stride = context if extent.stride is None else extent.stride
    if not 1 <= stride <= context:
        raise RequestError(f"--stride has to be from 1 to {context}, but is {stride}.")
    return context, stride


def _precision(model: Model) -> str:
    manifest = model.bundle and model.bundle.manifest
    return (manifest and manifest.precision) or "unknown precision"
