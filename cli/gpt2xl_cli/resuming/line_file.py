"""JSON lines that are only ever appended to, so that a run killed at any time loses no finished line."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar

from gpt2xl import RequestError
from gpt2xl.files.reading import check_regular

MAX_LINE_BYTES = 64 << 20  # longer than any text
T = TypeVar("T")


class LineFile:
    """A header, which says to which run the file belongs, and a line for each thing that is done.

    As a context manager, open to write after what was taken; the rest is overwritten.

    Args:
        path: of the file, which need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._size = 0
        self._file: IO[bytes] | None = None

    def header(self) -> dict[str, Any] | None:
        """The first line, empty if it is no JSON object; None where there is no file, or nothing in it.

        Raises:
            RequestError: ``path`` is no regular file.
        """
        if not os.path.lexists(self.path):
            return None
        first = next(whole_lines(self.path), b"")
        return (json_object(first) or {}) if self.path.stat().st_size else None

    def take(self, parse: Callable[[bytes], T | None]) -> Iterator[T]:
        """What ``parse`` makes of the lines after the header, up to the first of which it makes None."""
        lines = whole_lines(self.path)
        self._size = len(next(lines)) + 1
        for line in lines:
            if (found := parse(line)) is None:
                return
            self._size += len(line) + 1
            yield found

    def __enter__(self) -> "LineFile":
        self._file = self.path.open("r+b" if self._size else "wb")
        self._file.truncate(self._size)
        self._file.seek(self._size)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()

    @property
    def is_new(self) -> bool:
        """Whether nothing was taken, so that the header has to be written."""
        return not self._size

    def write(self, values: object) -> None:
        """Append a line; it is in the file when this returns."""
        assert self._file is not None
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()


def json_object(line: bytes) -> dict[str, Any] | None:
    """Parse a JSON object; None if ``line`` is anything else."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


def whole_lines(path: Path) -> Iterator[bytes]:
    """Yield lines up to the first that a kill cut short (no line end) or that is too long."""
    check_regular(path, RequestError)
    with path.open("rb") as file:
        while (line := file.readline(MAX_LINE_BYTES)).endswith(b"\n"):
            yield line[:-1]
