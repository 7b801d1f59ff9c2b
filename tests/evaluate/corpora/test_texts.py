"""What the figures of texts are made of: counts as data sets have them, and options that are printed."""

import math
from pathlib import Path

import numpy as np
import pytest

from gpt2xl import ContinuationScore, RequestError, Tokenizer
from gpt2xl_eval.corpora.perplexity import Perplexity
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.tasks import make_task

WIKITEXT = " \n = One = \n \n Two words , <unk> . \n \n = Next = \n \n é @-@ f \n"
NATS = 0.5


@pytest.fixture(scope="module")
def tiny(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


def task_of(
    name: str, content: str, folder: Path, tiny: Tokenizer, **options: object
) -> Perplexity:
    path = folder / "data"
    path.write_text(content, "utf-8", newline="")
    task = make_task(name, path, tiny, 16, EvalOptions(**options))  # type: ignore[arg-type]
    assert isinstance(task, Perplexity)
    return task


def figures_of(task: Perplexity) -> dict[str, float]:
    """With NATS for each token."""
    scores = [
        ContinuationScore(np.full(len(each.ids), -NATS), np.zeros((len(each.ids), 1), np.int64))
        for each in task.continuations
    ]
    measured = [task.measure(index, score) for index, score in enumerate(scores)]
    return dict(task.figures(measured))


def scored_text(task: Perplexity, tiny: Tokenizer) -> str:
    return tiny.decode([token for each in task.continuations for token in each.ids])


def test_wikitext_is_scored_de_tokenized_and_divided_by_original_tokens(
    tmp_path: Path, tiny: Tokenizer
) -> None:
    task = task_of("wikitext2", WIKITEXT, tmp_path, tiny)
    text = "\n= One =\n\nTwo words, <unk>.\n\n= Next =\n\né-f\n"
    assert scored_text(task, tiny) == text
    nats = NATS * len(tiny.encode(text))
    words, line_ends = 14, 8
    figures = figures_of(task)
    assert next(iter(figures)) == "perplexity per word"
    assert figures["perplexity per word"] == pytest.approx(math.exp(nats / (words + line_ends)))
    assert figures["perplexity per word without line ends"] == pytest.approx(math.exp(nats / words))
    assert figures["perplexity per token"] == pytest.approx(math.exp(NATS))
    assert figures["bits per byte"] == pytest.approx(nats / math.log(2) / len(WIKITEXT.encode()))
    assert figures["bits per character"] == pytest.approx(nats / math.log(2) / len(WIKITEXT))


def test_the_options_are_printed_beside_the_figures(tmp_path: Path, tiny: Tokenizer) -> None:
    task = task_of("wikitext2", WIKITEXT, tmp_path, tiny, stride=5, documents="articles")
    assert dict(task.settings) == {
        "detokenizer": "wikitext", "documents": "2 articles", "context": 16, "stride": 5, "prefix": "endoftext",
        "denominator": "word", "tokens": task.continuations.scored_tokens, "words": 14 + 6,
        "words without line ends": 14, "bytes": len(WIKITEXT.encode()) - 3,
        "characters": len(WIKITEXT) - 3,
    }  # fmt: skip


def test_lm_evaluation_harness_counts_empty_words_at_the_ends_of_a_page(
    tmp_path: Path, tiny: Tokenizer
) -> None:
    task = task_of(
        "wikitext2", WIKITEXT, tmp_path, tiny, detokenizer="lm-eval", documents="articles"
    )
    assert task.units["word"] == 14 + 2 * 2
    assert "word-no-eos" not in task.units


def test_each_line_of_the_one_billion_word_benchmark_is_a_document(
    tmp_path: Path, tiny: Tokenizer
) -> None:
    task = task_of("1bw", "It 's a king .\nGo !\n", tmp_path, tiny)
    assert [tiny.decode(each.ids) for each in task.continuations] == ["It's a king.\n", "Go!\n"]
    assert {tuple(each.context) for each in task.continuations} == {(286,)}
    assert task.units["word"] == 5 + 2 + 2


def test_the_penn_treebank_is_one_text(tmp_path: Path, tiny: Tokenizer) -> None:
    task = task_of("ptb", " it was n't <unk> \n a $ N \n", tmp_path, tiny)
    assert scored_text(task, tiny) == "it wasn't <unk>\na $1\n"
    assert task.units["word"] == 7 + 2


@pytest.mark.parametrize(
    ("name", "main"), [("enwik8", "bits per byte"), ("text8", "bits per character")]
)
def test_bytes_and_characters_have_bits(
    tmp_path: Path, tiny: Tokenizer, name: str, main: str
) -> None:
    figures = figures_of(task_of(name, "a king who had a daughter", tmp_path, tiny))
    tokens = len(tiny.encode("a king who had a daughter"))
    assert next(iter(figures)) == main
    assert figures[main] == pytest.approx(tokens * NATS / math.log(2) / 25)


def test_any_text_is_scored_as_it_is(tmp_path: Path, tiny: Tokenizer) -> None:
    content = " a , b\r\n\nc <|endoftext|>"
    task = task_of("perplexity", content, tmp_path, tiny)
    assert scored_text(task, tiny) == content
    assert task.units == {"word": 5, "byte": 24, "character": 24}
    assert next(iter(figures_of(task))) == "perplexity per token"


def test_without_a_prefix_the_first_token_is_not_scored(tmp_path: Path, tiny: Tokenizer) -> None:
    ids = tiny.encode("a b")
    (window,) = task_of("perplexity", "a b", tmp_path, tiny, prefix="none").continuations
    assert (list(window.context), list(window.ids)) == (ids[:1], ids[1:])
    (window,) = task_of("perplexity", "a b", tmp_path, tiny, prefix="newline").continuations
    assert (list(window.context), list(window.ids)) == (tiny.encode("\n"), ids)


def test_a_part_is_divided_by_its_share_of_the_words(tmp_path: Path, tiny: Tokenizer) -> None:
    content = "a king and a daughter " * 20
    whole = task_of("perplexity", content, tmp_path, tiny, denominator="word")
    part = task_of("perplexity", content, tmp_path, tiny, denominator="word", limit=2)
    assert len(part.continuations) == 2 < len(whole.continuations)
    assert figures_of(part) == pytest.approx(figures_of(whole))


def test_a_perplexity_too_large_for_a_float_is_left_out(tmp_path: Path, tiny: Tokenizer) -> None:
    figures = figures_of(task_of("perplexity", "é" * 3000, tmp_path, tiny))
    assert "perplexity per word" not in figures
    assert figures["bits per word"] > 1024
    assert all(map(math.isfinite, figures.values()))


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        ("perplexity", "", {}, "is empty."),
        ("perplexity", "a", {"prefix": "none"}, "there is no token to score after another"),
        ("perplexity", "\n", {"denominator": "word"}, "the text has no word to divide by."),
        ("enwik8", "a", {"denominator": "word"}, "the text has no word to divide by."),
        ("perplexity", "a", {"detokenizer": "ptb"}, "task perplexity has no detokenizer"),
        ("ptb", "a", {"detokenizer": "moses"}, "there is no detokenizer 'moses'"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    tmp_path: Path, tiny: Tokenizer, name: str, content: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        task_of(name, content, tmp_path, tiny, **options)
