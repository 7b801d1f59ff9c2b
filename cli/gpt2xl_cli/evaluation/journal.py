"""What an evaluation has measured so far, in a file: after a kill the same command goes on from there."""

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import TracebackType

from gpt2xl import RequestError
from gpt2xl_cli.resuming.line_file import LineFile
from gpt2xl_eval.task import Measured

FORMAT_KEY, FORMAT = "gpt2xl eval", 1
NAME_DIGITS = 16


class Journal:
    """The journal of one run; as a context manager, open to add to.

    Args:
        path: of the file, which need not exist.
        run: what the figures depend on; as JSON gives it back.
        count: how many measurements the run has.

    Raises:
        RequestError: the file belongs to another run, or is something else.
    """

    def __init__(self, path: Path, run: Mapping[str, object], count: int) -> None:
        self._lines = LineFile(path)
        self._header = {FORMAT_KEY: FORMAT, **run}
        self.measured: list[Measured] = []
        """What is measured already, in the order of the continuations."""
        found = self._lines.header()
        if found is None:
            return
        if FORMAT_KEY not in found:
            raise RequestError(
                f"'{path}' is no journal of gpt2xl eval: name another file, or delete it."
            )
        other = [
            key for key in {**self._header, **found} if self._header.get(key) != found.get(key)
        ]
        if other:
            raise RequestError(
                f"'{path}' belongs to a run with another {' and '.join(other)}: name another file, or delete it."
            )
        self.measured = list(self._lines.take(_measured))[:count]

    def __enter__(self) -> "Journal":
        self._lines.__enter__()
        if self._lines.is_new:
            self._lines.write(self._header)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lines.__exit__(kind, error, traceback)

    def add(self, measured: Measured) -> None:
        """Keep a measurement; it is in the file when this returns."""
        self._lines.write(measured)
        self.measured.append(measured)


def journal_name(task: str, run: Mapping[str, object]) -> str:
    """The name of the file of a run among those of others."""
    digest = sha256(json.dumps(run, sort_keys=True).encode()).hexdigest()
    return f"{task}-{digest[:NAME_DIGITS]}.jsonl"


def _measured(line: bytes) -> Measured | None:
    """Read a line; None if it holds anything but numbers."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, list) or not {*map(type, values)} <= {int, float}:
        return None
    return None if any(map(math.isnan, values)) else tuple(map(float, values))
