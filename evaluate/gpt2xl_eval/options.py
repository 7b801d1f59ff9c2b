"""How a task is measured."""

from dataclasses import dataclass
from typing import Literal

Prefix = Literal["endoftext", "newline", "none"]
Denominator = Literal["auto", "token", "word", "word-no-eos", "byte", "character"]
Documents = Literal["auto", "one", "articles", "lines"]
Part = Literal["auto", "test", "all"]


@dataclass(frozen=True)
class EvalOptions:
    """What the figures of a task depend on; None or "auto" for the default of the task."""

    stride: int | None = None
    """Tokens of each window but the first that are scored."""
    context: int | None = None
    """Tokens that the model reads in a window; None for n_positions."""
    detokenizer: str = "auto"
    """How the text of a word-level data set is made: "auto", "none", or a name of `gpt2xl_eval.detokenizers`."""
    denominator: Denominator = "auto"
    """What the log-probability is divided by. A "word" is an original token of a word-level data set, or a line end, which such
    data sets count as ``<eos>``; "word-no-eos" leaves the line ends out."""
    prefix: Prefix | Literal["auto"] = "auto"
    """What comes before the first token of each document. With "none" the first token is not scored."""
    documents: Documents = "auto"
    """Texts that no window crosses the border of: all as one, WikiText's articles, or each line."""
    part: Part = "auto"
    """Of enwik8 and text8: the last 5 MB of the 100 MB, or all."""
    limit: int | None = None
    """Questions, or windows, that are measured at most; the figures say that they are of a part."""
