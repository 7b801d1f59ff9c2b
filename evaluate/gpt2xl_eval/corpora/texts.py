"""Make tasks of texts: documents as windows, with the counts that figures are divided by."""

import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt2xl import RequestError, Tokenizer
from gpt2xl_eval.corpora.encoding import encode_bytes, encode_text, prefix_ids
from gpt2xl_eval.corpora.perplexity import NAMES, Perplexity
from gpt2xl_eval.corpora.windows import Windows, WindowsOfDocuments
from gpt2xl_eval.detokenizers.by_name import detokenizer
from gpt2xl_eval.formats.documents import CUTS
from gpt2xl_eval.options import Denominator, EvalOptions
from gpt2xl_eval.task import Setting

Units = Mapping[Denominator, int]


@dataclass(frozen=True)
class PlainText:
    """The task of a text that is scored as it is."""

    name: str
    read: Callable[[Path], str]

    def __call__(
        self, path: Path, tokenizer: Tokenizer, n_positions: int, options: EvalOptions
    ) -> Perplexity:
        """The task of the data at ``path``."""
        documents = CUTS[options.documents](self.read(path))
        ids = [encode_text(tokenizer, each) for each in documents]
        words = sum(len(each.split()) for each in documents)
        units: Units = {"word": words, **_bytes_and_characters(documents)}
        settings = {"documents": _documents(options, documents)}
        return windowed(self.name, ids, units, tokenizer, n_positions, options, settings)


@dataclass(frozen=True)
class WordLevel:
    """The task of a data set of tokens with spaces between them."""

    name: str
    read: Callable[[Path], str]

    def __call__(
        self, path: Path, tokenizer: Tokenizer, n_positions: int, options: EvalOptions
    ) -> Perplexity:
        """The task of the data at ``path``."""
        to_text = detokenizer(options.detokenizer)
        documents = CUTS[options.documents](self.read(path))
        ids = [encode_text(tokenizer, to_text.detokenize(each)) for each in documents]
        units: Units = {
            **_words(documents, as_lm_eval=options.detokenizer == "lm-eval"),
            **_bytes_and_characters(documents),
        }
        settings = {
            "detokenizer": options.detokenizer,
            "documents": _documents(options, documents),
        }
        return windowed(self.name, ids, units, tokenizer, n_positions, options, settings)


@dataclass(frozen=True)
class Bytes:
    """The task of a data set that is counted in bytes; a part of it may be measured."""

    name: str
    read: Callable[[Path, str], bytes]

    def __call__(
        self, path: Path, tokenizer: Tokenizer, n_positions: int, options: EvalOptions
    ) -> Perplexity:
        """The task of the data at ``path``."""
        content = self.read(path, options.part)
        ids = [encode_bytes(tokenizer, content)]
        units: Units = {"byte": len(content), "character": len(content.decode("utf-8", "ignore"))}
        settings = {"part": options.part}
        return windowed(self.name, ids, units, tokenizer, n_positions, options, settings)


def windowed(
    name: str,
    ids: Iterable["array[int]"],
    units: Units,
    tokenizer: Tokenizer,
    n_positions: int,
    options: EvalOptions,
    settings: Mapping[str, Setting],
) -> Perplexity:
    """The task of windows over documents.

    Args:
        name: of the task.
        ids: of each document, without a prefix.
        units: how many of each all documents have; see `Perplexity`.
        tokenizer: the model's.
        n_positions: the model's.
        options: what is left to a default has that of "perplexity".
        settings: what else the figures depend on.

    Raises:
        RequestError: there is no token to score, or nothing to divide by.
    """
    context = options.context or n_positions
    stride = options.stride or max(1, context // 2)
    prefix = "endoftext" if options.prefix == "auto" else options.prefix
    denominator = "token" if options.denominator == "auto" else options.denominator
    before = array("l", prefix_ids(tokenizer, prefix))
    windows = WindowsOfDocuments(
        [Windows(before + each, context, stride) for each in ids], options.limit
    )
    if not windows.scored_tokens:
        raise RequestError("there is no token to score after another: the text is too short.")
    if denominator != "token" and not units.get(denominator):
        raise RequestError(f"the text has no {NAMES.get(denominator, denominator)} to divide by.")
    settings = {
        **settings,
        "context": context,
        "stride": stride,
        "prefix": prefix,
        "denominator": denominator,
        "tokens": windows.scored_tokens,
        **{_plural(NAMES.get(unit, unit)): count for unit, count in units.items()},
    }
    return Perplexity(name, windows, settings, units, denominator)


def _plural(name: str) -> str:
    return "words without line ends" if name == NAMES["word-no-eos"] else f"{name}s"


def _documents(options: EvalOptions, documents: Sequence[str]) -> str:
    return (
        options.documents if options.documents == "one" else f"{len(documents)} {options.documents}"
    )


def _words(documents: Sequence[str], as_lm_eval: bool) -> dict[Denominator, int]:
    """Original tokens; the data sets count a line end as one, ``<eos>``.

    lm-evaluation-harness does not, but finds an empty word at each end of a page that begins or ends with white space.
    """
    words = sum(len(each.split()) for each in documents)
    line_ends = sum(each.count("\n") for each in documents)
    if as_lm_eval:
        return {"word": sum(len(re.split(r"\s+", each)) for each in documents)}
    return {"word": words + line_ends, "word-no-eos": words}


def _bytes_and_characters(documents: Sequence[str]) -> dict[Denominator, int]:
    """Of the data as it is distributed, before it is de-tokenized."""
    return {
        "byte": sum(len(each.encode()) for each in documents),
        "character": sum(map(len, documents)),
    }
