"""Read LAMBADA: OpenAI's JSON lines, or the plain text of the data set's own distribution."""

from dataclasses import dataclass
from pathlib import Path

from gpt2xl_eval.formats.json_lines import Line, read_lines, read_records


@dataclass(frozen=True)
class Passage:
    """A text whose last word is to be predicted."""

    line: Line
    text: str


@dataclass(frozen=True)
class Lambada:
    """The passages of a file."""

    passages: list[Passage]
    is_tokenized: bool
    """Whether it is the plain text, in which spaces stand between all tokens."""


def read_lambada(path: Path) -> Lambada:
    """Read lambada_test.jsonl ({"text": ...} a line) or lambada_test_plain_text.txt (a passage a line).

    The first character that is not white space tells them apart: it is "{" in JSON lines.

    Raises:
        RequestError: the file is missing, empty or not UTF-8, or a line is not of that form.
    """
    first = next(line for line in read_lines(path) if line.text.strip())
    if first.text.lstrip().startswith("{"):
        passages = [Passage(r.line, r.text("text")) for r in read_records(path)]
        return Lambada(passages, is_tokenized=False)
    lines = [line for line in read_lines(path) if line.text.strip()]
    return Lambada([Passage(line, line.text) for line in lines], is_tokenized=True)
