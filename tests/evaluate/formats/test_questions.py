"""Files in the forms of LAMBADA, HellaSwag and BLiMP; the sentences are our own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import RequestError
from gpt2xl_eval.formats.blimp import read_blimp
from gpt2xl_eval.formats.lambada import read_lambada
from gpt2xl_eval.formats.multiple_choice import HellaSwagParts, read_multiple_choice

WriteData = Callable[[str | bytes], Path]
HELLASWAG: dict[str, object] = {
    "ind": 4,
    "activity_label": "Baking bread",
    "ctx_a": "A woman kneads the dough.",
    "ctx_b": "she",
    "ctx": "A woman kneads the dough. she",
    "split": "val",
    "split_type": "indomain",
    "label": 1,
    "endings": ["sings.", "puts it into the oven.", "goes home.", "paints."],
    "source_id": "activitynet~v_-0",
}
PLAIN: dict[str, object] = {"context": "The sun", "choices": ["rises.", "sleeps."], "answer": 0}
PAIR: dict[str, object] = {"sentence_good": "He runs.", "sentence_bad": "He run.", "UID": "verbs"}


def test_lambada_is_read_in_both_forms(write_data: WriteData) -> None:
    lines = read_lambada(write_data('{"text": "“Go,” said\\n\\nthe fox"}\n{"text": "a b"}\n'))
    assert [p.text for p in lines.passages] == ["“Go,” said\n\nthe fox", "a b"]
    assert not lines.is_tokenized
    plain = read_lambada(write_data("`` go , '' said the fox\na b\n"))
    assert [p.text for p in plain.passages] == ["`` go , '' said the fox", "a b"]
    assert plain.is_tokenized


def test_a_line_of_lambada_without_text_is_refused(write_data: WriteData) -> None:
    with pytest.raises(RequestError, match='line 2: "text" has to be a string, but is missing'):
        read_lambada(write_data('{"text": "a b"}\n{"txt": "a b"}\n'))


def test_hellaswag_and_plain_questions_are_read(write_data: WriteData) -> None:
    lines = [HELLASWAG, HELLASWAG | {"label": "3"}, PLAIN]
    first, second, plain = read_multiple_choice(write_data("\n".join(map(json.dumps, lines))))
    assert (first.answer, second.answer, plain.answer) == (1, 3, 0)
    assert first.parts == HellaSwagParts("Baking bread", "A woman kneads the dough.", "she")
    assert first.choices[1] == "puts it into the oven."
    assert (plain.context, plain.parts) == ("The sun", None)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (HELLASWAG | {"label": 4}, '"label" has to be an integer from 0 to 3, but is 4'),
        (HELLASWAG | {"label": ""}, "but is ''"),
        (HELLASWAG | {"label": -1}, "but is -1"),
        (HELLASWAG | {"ctx_b": None}, '"ctx_b" has to be a string, but is None'),
        (PLAIN | {"answer": 2}, '"answer" has to be an integer from 0 to 1, but is 2'),
        (PLAIN | {"choices": ["a"]}, "two choices at least, but has 1"),
        (PLAIN | {"choices": ["a", " "]}, "an empty choice"),
        (PLAIN | {"choices": ["a", "b", "a"]}, "the right choice stands there twice: 'a'"),
        (PLAIN | {"choices": "ab"}, "has to be a list of strings"),
        ({"text": "a"}, '"context" has to be a string, but is missing'),
    ],
)
def test_a_damaged_question_is_refused(
    write_data: WriteData, line: dict[str, object], reason: str
) -> None:
    path = write_data(json.dumps(PLAIN) + "\n" + json.dumps(line))
    with pytest.raises(RequestError, match="line 2: .*" + reason):
        list(read_multiple_choice(path))


def test_pairs_are_read_from_a_file_and_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text(json.dumps(PAIR))
    (tmp_path / "a.jsonl").write_text(json.dumps({**PAIR, "UID": "nouns"}))
    (tmp_path / "notes.txt").write_text("not data")
    assert [pair.phenomenon for pair in read_blimp(tmp_path)] == ["nouns", "verbs"]
    (pair,) = read_blimp(tmp_path / "b.jsonl")
    assert (pair.good, pair.bad) == ("He runs.", "He run.")


def test_a_damaged_pair_is_refused(write_data: WriteData, tmp_path: Path) -> None:
    for line, reason in (
        (PAIR | {"sentence_bad": "He runs."}, "both sentences are the same"),
        (PAIR | {"sentence_bad": ""}, "a sentence is empty"),
        ({"sentence_good": "He runs."}, '"sentence_bad" has to be a string'),
    ):
        with pytest.raises(RequestError, match=f"line 1: {reason}"):
            list(read_blimp(write_data(json.dumps(line))))
    empty = tmp_path / "folder"
    empty.mkdir()
    with pytest.raises(RequestError, match="holds no"):
        list(read_blimp(empty))
