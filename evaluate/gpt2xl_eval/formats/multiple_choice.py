"""Read questions with several endings."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt2xl_eval.formats.json_lines import Line, Record, read_records


@dataclass(frozen=True)
class HellaSwagParts:
    """What HellaSwag splits its context into."""

    activity: str
    start: str
    rest: str


@dataclass(frozen=True)
class EndingQuestion:
    """A context and its endings, as the file has them."""

    line: Line
    context: str
    choices: tuple[str, ...]
    answer: int
    parts: HellaSwagParts | None
    """None in the plain form."""


def read_multiple_choice(path: Path) -> Iterator[EndingQuestion]:
    """Read JSON lines of HellaSwag's form, or of the plain one.

    HellaSwag's: "activity_label", "ctx_a", "ctx_b", "ctx", "endings", "label"; the label may be a string. Plain: "context",
    "choices", "answer". The right choice is an index from 0.

    Raises:
        RequestError: the file is missing, empty or not UTF-8, or a line is not of that form, has fewer than two choices,
            an empty one, or the right one twice.
    """
    for record in read_records(path):
        yield _hellaswag(record) if "endings" in record.content else _plain(record)


def _hellaswag(record: Record) -> EndingQuestion:
    choices = _choices(record, "endings")
    answer = _answer(record, "label", choices)
    parts = HellaSwagParts(*(record.text(key) for key in ("activity_label", "ctx_a", "ctx_b")))
    return EndingQuestion(record.line, record.text("ctx"), choices, answer, parts)


def _plain(record: Record) -> EndingQuestion:
    context = record.text("context")
    choices = _choices(record, "choices")
    return EndingQuestion(
        record.line, context, choices, _answer(record, "answer", choices), parts=None
    )


def _choices(record: Record, key: str) -> tuple[str, ...]:
    choices = tuple(record.texts(key))
    if len(choices) < 2:
        record.line.refuse(f'"{key}" has to hold two choices at least, but has {len(choices)}.')
    if not all(text.strip() for text in choices):
        record.line.refuse(f'"{key}" holds an empty choice.')
    return choices


def _answer(record: Record, key: str, choices: tuple[str, ...]) -> int:
    answer = record.index(key, len(choices))
    if choices.count(choices[answer]) > 1:
        record.line.refuse(f"the right choice stands there twice: {choices[answer][:80]!r}.")
    return answer
