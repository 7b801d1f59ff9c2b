"""Read untrusted JSON: every value is checked when it is used, and errors name file and key."""

import json
import math
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from gpt2xl.errors import Gpt2xlError
from gpt2xl.files.reading import read_text

MAX_BYTES = 16 << 20  # of a JSON file: as Python objects it takes up to 25 times as much memory
LARGEST = 2**63 - 1


def read_json(path: Path, error: type[Gpt2xlError], max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object in ``path``.

    Raises:
        error: the file is unreadable, not UTF-8, not JSON, holds NaN or Infinity, or is not an object.
    """
    text = read_text(path, error, max_bytes)
    try:
        content = parse_json(text)
    except ValueError as reason:
        raise error(f"'{path}' cannot be read as JSON: {reason}") from None
    if not isinstance(content, dict):
        raise error(f"'{path}' has to hold a JSON object, but holds a {type(content).__name__}.")
    return content


def read_json_if_there(path: Path, error: type[Gpt2xlError]) -> dict[str, Any]:
    """The content of ``path``, as `read_json` gives it; an empty object where there is no file."""
    return read_json(path, error) if path.is_symlink() or path.exists() else {}


def parse_json(text: str | bytes) -> Any:
    """Parse as ``json.loads`` does, but strictly: ValueError for NaN, Infinity, 1e999 and nesting that is too deep."""
    try:
        return json.loads(text, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not a number")
    return value


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a JSON file that is not checked yet."""

    content: Any
    file: Path
    error: type[Gpt2xlError]
    """Raised where the value is wrong."""
    key: str = ""
    """The path in the file: "parity.engine.whole"."""

    @classmethod
    def read(cls, file: Path, error: type[Gpt2xlError]) -> "Value":
        """The object in ``file``; errors as of `read_json`."""
        return cls(read_json(file, error), file, error)

    def entries(self) -> dict[str, "Value"]:
        """The entries of an object; None counts as an empty one."""
        return {name: self._entry(name, value) for name, value in self.mapping().items()}

    def get(self, name: str, default: Any = None) -> "Value":
        """The entry ``name`` of an object."""
        return self._entry(name, self.mapping().get(name, default))

    def mapping(self) -> dict[str, Any]:
        """The object itself; None counts as an empty one."""
        if self.content is not None and not isinstance(self.content, dict):
            self.refuse("an object")
        return self.content or {}

    def _entry(self, name: str, content: Any) -> "Value":
        key = f"{self.key}.{name}" if self.key else name
        return Value(content, self.file, self.error, key)

    def items(self, maximum: int = 1024) -> list["Value"]:
        """The items of a list of at most ``maximum``; None counts as an empty one."""
        if self.content is not None and not isinstance(self.content, list):
            self.refuse("a list")
        if len(self.content or ()) > maximum:
            self.refuse(f"a list of at most {maximum}")
        return [
            Value(item, self.file, self.error, f"{self.key}[{at}]")
            for at, item in enumerate(self.content or ())
        ]

    def text(self) -> str:
        """The string."""
        return self.content if isinstance(self.content, str) else self.refuse("a string")

    def flag(self) -> bool:
        """The boolean."""
        return self.content if isinstance(self.content, bool) else self.refuse("true or false")

    def integer(self, minimum: int = 0, maximum: int = LARGEST) -> int:
        """The integer, from ``minimum`` to ``maximum``."""
        if type(self.content) is int and minimum <= self.content <= maximum:
            return self.content
        what = {0: "an integer >= 0", 1: "a positive integer"}.get(
            minimum, f"an integer >= {minimum}"
        )
        is_larger = type(self.content) is int and self.content > maximum
        self.refuse(f"at most {maximum}" if is_larger else what)

    def number(self) -> float:
        """The number, which may be written as an integer."""
        if type(self.content) in (int, float) and abs(self.content) <= LARGEST:
            return float(self.content)
        self.refuse("a number")

    def refuse(self, wanted: str) -> NoReturn:
        """Raise `error`, saying that the value has to be ``wanted``."""
        raise self.error(
            f"'{self.file}': {self.key or 'the content'} has to be {wanted}, but is"
            f" {reprlib.repr(self.content)}."
        )
