"""Read JSON Lines, and say which line is wrong."""

from collections.abc import Iterator
from dataclasses import dataclass
from json import JSONDecodeError
from pathlib import Path
from typing import Any, NoReturn

from gpt2xl import RequestError
from gpt2xl.files.json_values import parse_json
from gpt2xl_eval.formats.files import read_utf8


@dataclass(frozen=True)
class Line:
    """A line of a data file."""

    path: Path
    number: int
    """From 1."""
    text: str

    def refuse(self, reason: str) -> NoReturn:
        """Raise a RequestError that names the line."""
        raise RequestError(f"'{self.path}', line {self.number}: {reason}")


@dataclass(frozen=True)
class Record:
    """A JSON object of a line."""

    line: Line
    content: dict[str, Any]

    def text(self, key: str) -> str:
        """The string ``key``; RequestError where it is missing or no string."""
        value = self.content.get(key)
        if not isinstance(value, str):
            self.line.refuse(f'"{key}" has to be a string, but is {self._shown(key)}.')
        return value

    def texts(self, key: str) -> list[str]:
        """The list of strings ``key``, as `text`."""
        value = self.content.get(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            self.line.refuse(f'"{key}" has to be a list of strings, but is {self._shown(key)}.')
        return value

    def index(self, key: str, length: int) -> int:
        """The integer ``key``, which may be written as a string, from 0 to ``length`` - 1."""
        value = self.content.get(key)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:9])
        if type(value) is not int or not 0 <= value < length:
            self.line.refuse(
                f'"{key}" has to be an integer from 0 to {length - 1}, but is {self._shown(key)}.'
            )
        return value

    def _shown(self, key: str) -> str:
        return repr(self.content[key])[:80] if key in self.content else "missing"


def read_lines(path: Path) -> Iterator[Line]:
    """The lines of a UTF-8 file, without line ends and a byte order mark.

    Raises:
        RequestError: the file is missing, empty, too large or not UTF-8.
    """
    text = read_utf8(path).removeprefix("\ufeff")
    if not text.strip():
        raise RequestError(f"'{path}' is empty.")
    for number, line in enumerate(text.split("\n"), 1):  # splitlines() would split at U+2028
        yield Line(path, number, line.removesuffix("\r"))


def read_records(path: Path) -> Iterator[Record]:
    """The objects of a JSON Lines file; blank lines are skipped.

    Raises:
        RequestError: as of `read_lines`, and where a line is not a JSON object.
    """
    for line in read_lines(path):
        if line.text.strip():
            yield Record(line, _object(line))


def _object(line: Line) -> dict[str, Any]:
    try:
        content = parse_json(line.text)
    except JSONDecodeError as reason:  # its line is always the first one
        line.refuse(f"it is not JSON: {reason.msg} at column {reason.colno}.")
    except ValueError as reason:
        line.refuse(f"it is not JSON: {reason}.")
    if not isinstance(content, dict):
        line.refuse(f"it has to be a JSON object, but is a {type(content).__name__}.")
    return content
