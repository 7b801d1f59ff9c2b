"""How a task is measured."""

from dataclasses import dataclass
from typing import Literal

Prefix = Literal["endoftext", "newline", "none"]
Denominator = Literal["auto", "token", "word", "byte", "character"]


@dataclass(frozen=True)
class EvalOptions:
    """What the figures of a task depend on; None or "auto" for the default of the task."""

    stride: int | None = None
    """Tokens of each window that are new."""
    context: int | None = None
    """Tokens of a window; None for n_positions."""
    detokenizer: str = "auto"
    """How the text of a word-level data set is made: "auto", "none", or a name of `gpt2xl_eval.detokenizers`."""
    denominator: Denominator = "auto"
    """What the log-probability is divided by."""
    prefix: Prefix | Literal["auto"] = "auto"
    """What comes before the first token."""
    limit: int | None = None
    """Questions, or windows, that are measured at most; the figures say that they are of a part."""
