"""Read the questions of the Children's Book Test."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from gpt2xl_eval.formats.json_lines import Line, read_lines

SENTENCES = 20
BLANK = "XXXXX"


@dataclass(frozen=True)
class ClozeQuestion:
    """Twenty sentences, and one with a blank; all are tokens with spaces between them."""

    line: Line
    """Of the sentence with the blank."""
    context: tuple[str, ...]
    sentence: str
    candidates: tuple[str, ...]
    answer: int
    left_out: int
    """Candidates of the file that are empty or stand there twice."""


def read_cbt(path: Path) -> Iterator[ClozeQuestion]:
    r"""Read cbtest_CN_valid_2000ex.txt and its like.

    A question is 20 lines "NUMBER SENTENCE", a line "21 SENTENCE\tANSWER\t\tCANDIDATE|CANDIDATE|..." whose sentence holds
    XXXXX, and a blank line. Empty and repeated candidates, which the distributed files have, are left out.

    Raises:
        RequestError: the file is missing, empty or not UTF-8, a line is not of that form, fewer than two candidates
            are left, or the answer is not among them.
    """
    context = list[str]()
    line = None
    for line in read_lines(path):
        if not line.text.strip():
            if context:
                line.refuse(f"a blank line after {len(context)} of {SENTENCES + 1} lines.")
            continue
        text = _numbered(line, len(context) + 1)
        if len(context) < SENTENCES:
            if "\t" in text:
                line.refuse(f"a question after {len(context)} sentences, not {SENTENCES}.")
            context.append(text)
            continue
        yield _question(line, tuple(context), text)
        context = []
    if context and line is not None:
        line.refuse(f"the file ends after {len(context)} of {SENTENCES + 1} lines.")


def _numbered(line: Line, wanted: int) -> str:
    number, _, text = line.text.strip(" \r\n").partition(" ")
    if number != str(wanted):
        line.refuse(f"it has to begin with {wanted} and a space, but begins with {number[:20]!r}.")
    return text.strip(" ")


def _question(line: Line, context: tuple[str, ...], text: str) -> ClozeQuestion:
    fields = text.split("\t")
    if len(fields) != 4:
        _refuse_fields(line, len(fields))
    sentence, answer, _, listed = (field.strip() for field in fields)
    if BLANK not in sentence:
        line.refuse(f"the sentence has no {BLANK}.")
    given = listed.split("|")
    candidates = tuple(dict.fromkeys(text.strip() for text in given if text.strip()))
    if len(candidates) < 2:
        line.refuse(f"it needs two candidates at least, but has {len(candidates)}.")
    if answer not in candidates:
        line.refuse(f"the answer {answer!r} is not among the candidates.")
    left_out = len(given) - len(candidates)
    return ClozeQuestion(line, context, sentence, candidates, candidates.index(answer), left_out)


def _refuse_fields(line: Line, found: int) -> NoReturn:
    line.refuse(
        "it has to hold sentence, tab, answer, two tabs, candidates: four fields between tabs, but has"
        f" {found}."
    )
