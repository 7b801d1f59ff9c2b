"""The tasks of running text."""

from collections.abc import Mapping
from dataclasses import replace

from gpt2xl_eval.corpora.texts import Bytes, PlainText, WordLevel
from gpt2xl_eval.entry import OptionName, TaskEntry
from gpt2xl_eval.formats.corpora import (
    enwik8,
    one_billion,
    penn_treebank,
    plain_text,
    text8,
    wikitext,
)
from gpt2xl_eval.options import EvalOptions

WINDOWS: frozenset[OptionName] = frozenset({"stride", "context", "prefix", "denominator"})
WORD_LEVEL: frozenset[OptionName] = WINDOWS | {"detokenizer", "documents"}
PER_WORD = EvalOptions(
    detokenizer="wikitext", denominator="word", prefix="endoftext", documents="one"
)
BY_BYTES = EvalOptions(detokenizer="none", prefix="endoftext", part="test")


def _wikitext(name: str, size: str, column: str) -> TaskEntry:
    return TaskEntry(
        WordLevel(name, wikitext),
        f"Perplexity per word of WikiText-{size}'s test set.",
        "wiki.test.raw or wiki.test.tokens, or their folder",
        (
            f"wikitext-{size}-raw/wiki.test.raw",
            f"wikitext-{size}/wiki.test.tokens",
            f"wikitext-{size}/test.txt",
        ),
        PER_WORD,
        WORD_LEVEL,
        {column: "perplexity per word"},
    )


WIKITEXT2 = _wikitext("wikitext2", "2", "WikiText2")
WIKITEXT103 = _wikitext("wikitext103", "103", "WikiText103")
PTB = TaskEntry(
    WordLevel("ptb", penn_treebank),
    "Perplexity per word of the Penn Treebank's test set.",
    "ptb.test.txt, or its folder",
    ("ptb.test.txt",),
    replace(PER_WORD, detokenizer="ptb"),
    WORD_LEVEL,
    {"PTB": "perplexity per word"},
)
ENWIK8 = TaskEntry(
    Bytes("enwik8", enwik8),
    "Bits per byte of the last 5 MB of enwik8.",
    "enwik8 or enwik8.zip",
    ("enwik8", "enwik8.zip"),
    replace(BY_BYTES, denominator="byte"),
    WINDOWS | {"part"},
    {"enwiki8": "bits per byte"},
)
TEXT8 = TaskEntry(
    Bytes("text8", text8),
    "Bits per character of the last 5 MB of text8.",
    "text8 or text8.zip",
    ("text8", "text8.zip"),
    replace(BY_BYTES, denominator="character"),
    WINDOWS | {"part"},
    {"text8": "bits per character"},
)
ONE_BILLION = TaskEntry(
    WordLevel("1bw", one_billion),
    "Perplexity per word of held-out shards of the One Billion Word Benchmark.",
    "news.en.heldout-00000-of-00050, or a folder of shards",
    ("news.en.heldout-00000-of-00050", "news.en.heldout-*-of-00050"),
    replace(PER_WORD, detokenizer="1bw", documents="lines"),
    WORD_LEVEL,
    {"1BW": "perplexity per word"},
)
PERPLEXITY = TaskEntry(
    PlainText("perplexity", plain_text),
    "Perplexity per token of any text.",
    "a UTF-8 text file",
    defaults=EvalOptions(
        detokenizer="none", denominator="token", prefix="endoftext", documents="one"
    ),
    options=WINDOWS | {"documents"},
)

CORPORA: Mapping[str, TaskEntry] = {
    "wikitext2": WIKITEXT2,
    "ptb": PTB,
    "enwik8": ENWIK8,
    "text8": TEXT8,
    "wikitext103": WIKITEXT103,
    "1bw": ONE_BILLION,
    "perplexity": PERPLEXITY,
}
"""By name, in the order of the model card's table."""
