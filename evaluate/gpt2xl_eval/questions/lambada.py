"""LAMBADA: predict the last word of a passage."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np

from gpt2xl import Continuation, ContinuationScore, Tokenizer
from gpt2xl_eval.detokenizers.treebank import rejoined
from gpt2xl_eval.formats.lambada import Passage, read_lambada
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.questions.contexts import Continuations, Encoder
from gpt2xl_eval.questions.detokenizing import detokenizer
from gpt2xl_eval.questions.stop_words import STOP_WORDS, stop_word_ids
from gpt2xl_eval.task import Measured, Setting

STRAIGHT = str.maketrans({"“": '"', "”": '"'})
ACCURACY = "accuracy of the last word, with stop-word filter"
PERPLEXITY = "perplexity per last word"


def with_straight_quotes(text: str) -> str:
    """``text`` without white space around it, and with straight double quotes.

    >>> with_straight_quotes(" “Go,” ``he'' said ")
    '"Go," "he" said'
    """
    return text.strip().translate(STRAIGHT).replace("``", '"').replace("''", '"')


DETOKENIZERS: Mapping[str, Callable[[str], str]] = {
    "none": str,
    "quotes": with_straight_quotes,
    "treebank": rejoined,
}


@dataclass(frozen=True)
class LastWords:
    """Passages whose last word is scored; see ``Task``."""

    passages: Sequence[Continuations]
    """Of one continuation each."""
    stop_ids: frozenset[int]
    own_settings: Mapping[str, Setting]
    name: str = "lambada"

    @property
    def settings(self) -> Mapping[str, Setting]:
        """What the figures depend on."""
        return {
            **self.own_settings,
            "stop words": len(STOP_WORDS),
            "questions": len(self.passages),
            "contexts cut on the left": sum(passage.is_cut for passage in self.passages),
        }

    @property
    def top(self) -> int:
        """So many that not all of them can be stop words."""
        return len(self.stop_ids) + 1

    @cached_property
    def continuations(self) -> Sequence[Continuation]:
        """The last words."""
        return [passage.items[0] for passage in self.passages]

    def measure(self, index: int, score: ContinuationScore) -> Measured:
        """Log-probabilities of the word and of its last token, its tokens, and three verdicts, 1 where right."""
        ids = np.asarray(self.passages[index].items[0].ids)
        is_first = score.top_ids[:, 0] == ids
        allowed = next(each for each in score.top_ids[0].tolist() if each not in self.stop_ids)
        filtered = allowed == ids[0] and is_first[1:].all()
        verdicts = (is_first[-1], is_first.all(), filtered)
        total, last = score.logprobs.sum(), score.logprobs[-1]
        return float(total), float(last), float(len(ids)), *map(float, verdicts)

    def figures(self, measured: Sequence[Measured]) -> Mapping[str, float]:
        """Perplexities and accuracies by word and by token."""
        total, last, tokens, last_right, word_right, filtered_right = (
            math.fsum(column) for column in zip(*measured, strict=True)
        )
        count = len(measured)
        return {
            PERPLEXITY: math.exp(-total / count),
            "perplexity per token of the last word": math.exp(-total / tokens),
            "perplexity per last token": math.exp(-last / count),
            ACCURACY: filtered_right / count,
            "accuracy of the last word": word_right / count,
            "accuracy of the last token": last_right / count,
        }


def make_lambada(
    path: Path, tokenizer: Tokenizer, n_positions: int, options: EvalOptions
) -> LastWords:
    """Read the passages; the last word begins at the last space."""
    data = read_lambada(path)
    named = options.detokenizer
    if named == "auto":
        named = "treebank" if data.is_tokenized else "quotes"
    detokenize = detokenizer("lambada", named, DETOKENIZERS)
    context = options.context or n_positions
    encoder = Encoder(tokenizer, options.prefix, context)
    settings: dict[str, Setting] = {
        "form": "plain text" if data.is_tokenized else "JSON lines",
        "detokenizer": named,
        "prefix": options.prefix,
        "context": context,
    }
    passages = [
        _last_word(passage, detokenize, encoder) for passage in islice(data.passages, options.limit)
    ]
    return LastWords(passages, stop_word_ids(tokenizer), settings)


def _last_word(
    passage: Passage, detokenize: Callable[[str], str], encoder: Encoder
) -> Continuations:
    context, _, word = detokenize(passage.text).rpartition(" ")
    if not context.strip() or not word.strip():
        passage.line.refuse("a passage has to hold a space, and a word after it.")
    return encoder.continuations(passage.line, context, [" " + word])
