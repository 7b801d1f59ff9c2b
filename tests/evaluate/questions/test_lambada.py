import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpt2xl import ContinuationScore, RequestError, Tokenizer
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.questions.lambada import ACCURACY, LastWords, make_lambada
from gpt2xl_eval.questions.stop_words import STOP_WORDS, stop_word_ids

WriteData = Callable[[str | bytes], Path]
AS_IN_LM_EVAL = EvalOptions(context=96, detokenizer="none", prefix="none")
BY_DEFAULT = EvalOptions(context=96, detokenizer="auto", prefix="newline")
TEXT = " “Once upon a time,” said the\n\nfair king"


def lines(*texts: str) -> str:
    return "\n".join(json.dumps({"text": text}) for text in texts)


def whole(task: LastWords, tokenizer: Tokenizer, index: int = 0) -> tuple[str, str]:
    scored = task.continuations[index]
    return tokenizer.decode(scored.context), tokenizer.decode(scored.ids)


def test_the_last_word_is_what_stands_after_the_last_space(
    write_data: WriteData, tiny: Tokenizer
) -> None:
    task = make_lambada(write_data(lines(TEXT)), tiny, 96, AS_IN_LM_EVAL)
    assert whole(task, tiny) == (" “Once upon a time,” said the\n\nfair", " king")
    assert tiny.encode(TEXT) == [*task.continuations[0].context, *task.continuations[0].ids]


def test_by_default_quotes_are_straight_and_a_line_feed_stands_before(
    write_data: WriteData, tiny: Tokenizer
) -> None:
    task = make_lambada(write_data(lines(TEXT)), tiny, 96, BY_DEFAULT)
    assert whole(task, tiny) == ('\n"Once upon a time," said the\n\nfair', " king")
    assert (task.settings["detokenizer"], task.settings["prefix"]) == ("quotes", "newline")


def test_the_plain_text_is_rejoined_by_default(write_data: WriteData, tiny: Tokenizer) -> None:
    path = write_data("`` do n't go , '' said the king\n")
    task = make_lambada(path, tiny, 96, BY_DEFAULT)
    assert whole(task, tiny) == ('\n"don\'t go," said the', " king")
    assert task.settings["detokenizer"] == "treebank"
    as_it_is = make_lambada(path, tiny, 96, replace(BY_DEFAULT, detokenizer="none"))
    assert whole(as_it_is, tiny) == ("\n`` do n't go , '' said the", " king")


def test_long_contexts_are_cut_on_the_left_and_counted(
    write_data: WriteData, tiny: Tokenizer
) -> None:
    options = replace(AS_IN_LM_EVAL, context=12)
    task = make_lambada(write_data(lines("a king", "the king " * 9 + "said")), tiny, 96, options)
    assert task.settings["contexts cut on the left"] == 1
    assert task.settings["context"] == 12
    scored = task.continuations[1]
    assert len(scored.context) + len(scored.ids) == 12
    assert tiny.encode("the king " * 9 + "said")[-12:] == [*scored.context, *scored.ids]


@pytest.mark.parametrize("text", ["king", "", "the king ", " king"])
def test_a_passage_without_a_last_word_is_refused(
    write_data: WriteData, tiny: Tokenizer, text: str
) -> None:
    with pytest.raises(RequestError, match="line 2: a passage has to hold a space"):
        make_lambada(write_data(lines("a king", text)), tiny, 96, AS_IN_LM_EVAL)


def test_a_word_longer_than_the_context_is_refused(write_data: WriteData, tiny: Tokenizer) -> None:
    options = replace(AS_IN_LM_EVAL, context=8)
    with pytest.raises(RequestError, match=r"an ending has to be of 1 to 7 tokens, .* has 21"):
        make_lambada(write_data(lines("a " + "z" * 20)), tiny, 96, options)


def test_unknown_options_are_refused(write_data: WriteData, tiny: Tokenizer) -> None:
    path = write_data(lines("a king"))
    with pytest.raises(RequestError, match="detokenizer of lambada has to be one of none, quotes"):
        make_lambada(path, tiny, 96, replace(BY_DEFAULT, detokenizer="ptb"))


def test_a_limit_takes_the_first_passages(write_data: WriteData, tiny: Tokenizer) -> None:
    path = write_data(lines("a king", "a cat", "a dog"))
    task = make_lambada(path, tiny, 96, replace(BY_DEFAULT, limit=2))
    assert [whole(task, tiny, n)[1] for n in range(len(task.continuations))] == [" king", " cat"]


def test_figures_are_those_of_the_definitions(write_data: WriteData, tiny: Tokenizer) -> None:
    task = make_lambada(write_data(lines("a cat", "a dog")), tiny, 96, BY_DEFAULT)
    lengths = [len(scored.ids) for scored in task.continuations]
    logprobs = [np.linspace(-3, -1, length) for length in lengths]
    measured = []
    for n, scored in enumerate(task.continuations):
        top_ids = np.tile(np.arange(task.top), (len(scored.ids), 1))
        top_ids[:, 0] = scored.ids
        if n == 1:
            top_ids[0, 0] = 286  # only the last token of the second word is predicted
        measured.append(task.measure(n, ContinuationScore(logprobs[n], top_ids)))
    figures = task.figures(measured)
    total = -sum(each.sum() for each in logprobs)
    assert figures["perplexity per last word"] == pytest.approx(math.exp(total / 2))
    per_token = math.exp(total / sum(lengths))
    assert figures["perplexity per token of the last word"] == pytest.approx(per_token)
    assert figures["perplexity per last token"] == pytest.approx(math.exp(1))
    assert figures["accuracy of the last word"] == 0.5
    assert figures["accuracy of the last token"] == 1
    assert figures[ACCURACY] == 0.5


def test_the_filter_skips_stop_words_at_the_first_token_alone(
    write_data: WriteData, tiny: Tokenizer
) -> None:
    task = make_lambada(write_data(lines("a cat")), tiny, 96, BY_DEFAULT)
    ids = list(task.continuations[0].ids)
    stop, other = min(task.stop_ids), next(n for n in range(200) if n not in task.stop_ids)
    assert len(ids) > 1

    def verdicts(first: list[int], second: list[int]) -> tuple[float, float]:
        rows = [first, second, *([token_id, other] for token_id in ids[2:])]
        measured = [task.measure(0, ContinuationScore(np.zeros(len(ids)), np.array(rows)))]
        figures = task.figures(measured)
        return figures["accuracy of the last word"], figures[ACCURACY]

    assert verdicts([ids[0], stop], [ids[1], stop]) == (1, 1)
    assert verdicts([stop, ids[0]], [ids[1], stop]) == (0, 1)
    assert verdicts([other, ids[0]], [ids[1], stop]) == (0, 0)
    assert verdicts([stop, ids[0]], [stop, ids[1]]) == (0, 0)


def test_stop_words_are_found_in_any_case_with_and_without_a_space(tiny: Tokenizer) -> None:
    assert len(STOP_WORDS) == 127
    found = {tiny.decode([token_id]) for token_id in stop_word_ids(tiny)}
    assert {"a", "A", "I", "s", " a"} <= found
    assert not {"k", " k", "<|endoftext|>", "!"} & found
