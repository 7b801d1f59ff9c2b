"""Files in the form of the Children's Book Test; the sentences are our own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import RequestError
from gpt2xl_eval.formats.cbt import read_cbt

WriteData = Callable[[str | bytes], Path]
LAST = "21 The XXXXX ran .\tfox\t\tcat|dog|fox|hen"


def cbt_text(last: str = LAST, count: int = 20) -> str:
    lines = [f"{n} The fox saw `` {n} '' hens ." for n in range(1, count + 1)]
    return "\n".join([*lines, last]) + "\n\n"


def test_questions_are_read(write_data: WriteData) -> None:
    path = write_data(cbt_text() + cbt_text("21 A XXXXX .\then\t\ta|hen"))
    first, second = read_cbt(path)
    assert len(first.context) == 20
    assert first.context[9] == "The fox saw `` 10 '' hens ."
    assert first.sentence == "The XXXXX ran ."
    assert first.candidates == ("cat", "dog", "fox", "hen")
    assert (first.answer, second.answer) == (2, 1)
    assert (first.line.number, second.line.number) == (21, 43)


def test_the_last_blank_line_may_be_missing(write_data: WriteData) -> None:
    assert len(list(read_cbt(write_data(cbt_text().strip())))) == 1


def test_empty_and_repeated_candidates_are_left_out(write_data: WriteData) -> None:
    (question,) = read_cbt(write_data(cbt_text("21 XXXXX .\tfox\t\tcat||fox|cat")))
    assert question.candidates == ("cat", "fox")
    assert question.left_out == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (cbt_text(count=19), "line 20: it has to begin with 20 and a space, but begins with '21'"),
        (cbt_text(count=21), "line 21: it has to hold sentence, tab, answer, two tabs, candidates"),
        (cbt_text().replace("\n21 ", "\n\n21 "), "line 21: a blank line after 20 of 21 lines"),
        ("1 A XXXXX .\tfox\t\tcat|fox\n", "line 1: a question after 0 sentences, not 20"),
        (cbt_text()[:40], "line 2: the file ends after 2 of 21 lines"),
        (cbt_text("21 The fox ran .\tfox\t\tcat|fox"), "line 21: the sentence has no XXXXX"),
        (cbt_text("21 XXXXX ran .\tfox\tcat|fox"), "but has 3"),
        (cbt_text("21 XXXXX ran .\tfox\t\tfox"), "two candidates at least, but has 1"),
        (cbt_text("21 XXXXX ran .\tfox\t\t|"), "two candidates at least, but has 0"),
        (cbt_text("21 XXXXX ran .\tfox\t\tcat|dog"), "the answer 'fox' is not among"),
        ("", "is empty"),
        (b"1 Zo\xeb", "not UTF-8"),
    ],
)
def test_a_damaged_file_is_refused(
    write_data: WriteData, content: str | bytes, reason: str
) -> None:
    with pytest.raises(RequestError, match=reason):
        list(read_cbt(write_data(content)))
