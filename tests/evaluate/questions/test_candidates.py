import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpt2xl import ContinuationScore, RequestError, Tokenizer
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.questions.blimp import make_blimp
from gpt2xl_eval.questions.candidates import Candidates
from gpt2xl_eval.questions.cbt import make_cbt
from gpt2xl_eval.questions.multiple_choice import make_multiple_choice
from gpt2xl_eval.tasks import TASKS, make_task

WriteData = Callable[[str | bytes], Path]
OPTIONS = EvalOptions(context=96, detokenizer="none", prefix="none")
TREEBANK = replace(OPTIONS, detokenizer="treebank")
HELLASWAG = {
    "activity_label": "Baking",
    "ctx_a": "A woman [step] kneads  dough.",
    "ctx_b": "THEN she",
    "ctx": "A woman [step] kneads  dough. THEN she",
    "label": "1",
    "endings": ["sings [title] Well.", "bakes it."],
}


def cbt_text(last: str) -> str:
    return "\n".join([*(f"{n} `` No , '' {n} ." for n in range(1, 21)), f"21 {last}", ""])


def texts(task: Candidates, tokenizer: Tokenizer) -> list[tuple[str, str]]:
    decode = tokenizer.decode
    return [(decode(scored.context), decode(scored.ids)) for scored in task.continuations]


def figures(task: Candidates, totals: Sequence[float]) -> dict[str, float]:
    """Those that come of these log-probabilities, spread evenly over the tokens."""
    lengths = [len(scored.ids) for scored in task.continuations]
    scores = [
        ContinuationScore(np.full(length, total / length), np.zeros((length, 1), np.int64))
        for length, total in zip(lengths, totals, strict=True)
    ]
    return dict(task.figures([task.measure(n, score) for n, score in enumerate(scores)]))


def test_candidates_of_cbt_stand_in_the_text(write_data: WriteData, tiny: Tokenizer) -> None:
    path = write_data(cbt_text("`` XXXXX did n't , '' said the king .\tcat\t\tcat|the dog"))
    options = replace(TREEBANK, context=400)
    task = make_cbt("cbt-cn", path, tiny, 400, options)
    sentences = " ".join(f'"No," {n}.' for n in range(1, 21))
    assert texts(task, tiny) == [
        (sentences + ' "', "cat didn't,\" said the king."),
        (sentences + ' "', "the dog didn't,\" said the king."),
    ]
    (question,) = task.questions
    parts = [tiny.decode(c.continuation.ids[: c.tokens]) for c in question.candidates]
    assert parts == ["cat", "the dog"]
    first, second = task.continuations
    assert first.context == second.context


def test_a_blank_at_the_beginning_and_one_within_the_sentence(
    write_data: WriteData, tiny: Tokenizer
) -> None:
    options = replace(OPTIONS, context=900)
    path = write_data(cbt_text("XXXXX ran to XXXXX .\tcat\t\tcat|dog"))
    (context, ending), _ = texts(make_cbt("cbt-ne", path, tiny, 900, options), tiny)
    assert context.endswith("`` No , '' 20 .")
    assert ending == " cat ran to cat ."
    path = write_data(cbt_text("The XXXXX ran .\tcat\t\tcat|dog"))
    (context, ending), _ = texts(make_cbt("cbt-ne", path, tiny, 900, options), tiny)
    assert (context[-8:], ending) == ("20 . The", " cat ran .")


def test_candidates_of_a_question_share_a_context_that_is_cut(
    write_data: WriteData, tiny: Tokenizer
) -> None:
    path = write_data(cbt_text("The XXXXX ran .\tcat\t\tcat|" + "z" * 30))
    task = make_cbt("cbt-cn", path, tiny, 96, TREEBANK)
    first, second = task.continuations
    assert first.context == second.context
    assert len(second.context) + len(second.ids) == 96 > len(first.context) + len(first.ids)
    assert task.settings["contexts cut on the left"] == 1


def test_hellaswag_is_prepared_as_in_lm_eval_or_not_at_all(
    write_data: WriteData, tiny: Tokenizer
) -> None:
    path = write_data(json.dumps(HELLASWAG))
    options = replace(OPTIONS, detokenizer="hellaswag")
    task = make_multiple_choice(path, tiny, 96, options)
    context = "Baking: A woman kneads dough. Then she"
    assert texts(task, tiny) == [(context, " sings. Well."), (context, " bakes it.")]
    assert task.settings["form"] == "HellaSwag"
    task = make_multiple_choice(path, tiny, 96, OPTIONS)
    context = str(HELLASWAG["ctx"])
    assert texts(task, tiny) == [(context, " sings [title] Well."), (context, " bakes it.")]


def test_a_choice_of_marks_alone_is_refused(write_data: WriteData, tiny: Tokenizer) -> None:
    path = write_data(json.dumps(HELLASWAG | {"endings": ["[step]", "a"]}))
    with pytest.raises(RequestError, match="line 1: a choice is empty without its marks"):
        make_multiple_choice(path, tiny, 96, replace(OPTIONS, detokenizer="hellaswag"))


@pytest.mark.parametrize(
    ("context", "choice", "expected"),
    [
        ("The king", "ran.", ("The king", " ran.")),
        ("The king ", "ran.", ("The king", " ran.")),
        ("The king", " ran.", ("The king", " ran.")),
        ("The king\n", "ran.", ("The king", "\nran.")),
    ],
)
def test_a_plain_choice_has_one_space_before_it(
    write_data: WriteData, tiny: Tokenizer, context: str, choice: str, expected: tuple[str, str]
) -> None:
    line = {"context": context, "choices": [choice, "x"], "answer": 0}
    task = make_multiple_choice(write_data(json.dumps(line)), tiny, 96, OPTIONS)
    assert texts(task, tiny)[0] == expected
    assert task.settings["detokenizer"] == "none"


def test_an_empty_context_needs_a_prefix(write_data: WriteData, tiny: Tokenizer) -> None:
    path = write_data(json.dumps({"context": "", "choices": ["a b", "c"], "answer": 0}))
    with pytest.raises(RequestError, match="line 1: the context is empty: --prefix endoftext"):
        make_multiple_choice(path, tiny, 96, OPTIONS)
    task = make_multiple_choice(path, tiny, 96, replace(OPTIONS, prefix="endoftext"))
    assert texts(task, tiny) == [("<|endoftext|>", "a b"), ("<|endoftext|>", "c")]


def test_choices_are_compared_by_each_length(write_data: WriteData, tiny: Tokenizer) -> None:
    """The choices are of 1, 2, and 2 characters, of 1, 2 and 4 bytes."""
    line = {"context": "The", "choices": ["q", "qz", "éé"], "answer": 2}
    task = make_multiple_choice(write_data(json.dumps(line)), tiny, 96, OPTIONS)
    assert [len(scored.ids) for scored in task.continuations] == [2, 3, 5]
    expected = {
        (-1.0, -3.0, -3.1): (0, 0, 1, 0),
        (-1.0, -2.5, -2.1): (0, 1, 1, 0),
        (-1.0, -2.0, -1.9): (0, 1, 1, 1),
        (-2.0, -2.0, -1.9): (1, 1, 1, 1),
        (-1.0, -9.0, -6.0): (0, 0, 0, 0),
        (-2.0, -2.0, -2.0): (0, 1, 1, 0),
    }
    for totals, wanted in expected.items():
        found = figures(task, totals)
        names = ("accuracy", "accuracy, per token", "accuracy, per byte", "accuracy, per character")
        assert tuple(found[name] for name in names) == wanted, totals
        assert found["tied questions"] == (totals == (-2.0, -2.0, -2.0))


def test_pairs_are_counted_by_phenomenon(write_data: WriteData, tiny: Tokenizer) -> None:
    pairs = [("a b", "b a", "order"), ("c d", "d c", "order"), ("e", "f", "letters")]
    lines = [{"sentence_good": g, "sentence_bad": b, "UID": u} for g, b, u in pairs]
    path = write_data("\n".join(map(json.dumps, lines)))
    options = replace(OPTIONS, prefix="endoftext")
    task = make_blimp(path, tiny, 96, options)
    assert texts(task, tiny)[:2] == [("<|endoftext|>", "a b"), ("<|endoftext|>", "b a")]
    found = figures(task, [-1, -2, -2, -1, -1, -2])
    assert found == {
        "accuracy": pytest.approx(2 / 3),
        "accuracy, order": 0.5,
        "accuracy, letters": 1,
        "tied questions": 0,
    }
    with pytest.raises(RequestError, match="the context is empty"):
        make_blimp(path, tiny, 96, OPTIONS)


def test_the_list_of_tasks_makes_them_with_their_defaults(
    write_data: WriteData, tiny: Tokenizer
) -> None:
    data = {
        "lambada": '{"text": "the king"}',
        "cbt-cn": cbt_text("The XXXXX ran .\tcat\t\tcat|dog"),
        "cbt-ne": cbt_text("The XXXXX ran .\tcat\t\tcat|dog"),
        "multiple-choice": json.dumps(HELLASWAG),
        "blimp": json.dumps({"sentence_good": "a", "sentence_bad": "b"}),
    }
    for name, content in data.items():
        task = make_task(name, write_data(content), tiny, 96, EvalOptions())
        assert task.name == name
        assert task.settings["context"] == 96
        column_figures = TASKS[name].columns.values()
        top = np.arange(task.top)[None]
        measured = [
            task.measure(n, ContinuationScore(-np.ones(len(c.ids)), np.repeat(top, len(c.ids), 0)))
            for n, c in enumerate(task.continuations)
        ]
        assert set(column_figures) <= set(task.figures(measured))
