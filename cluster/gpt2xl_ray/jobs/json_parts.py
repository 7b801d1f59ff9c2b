"""Parts of JSON lines: read a range of a file, and write each line with its text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from gpt2xl import RequestError
from gpt2xl.udf.columns import REPORTS, added_values
from gpt2xl.udf.rows import Outcome, Row
from gpt2xl_ray.jobs.plan import Part
from gpt2xl_ray.storage import Place, storage_errors

PIECE_BYTES = 1 << 16
ADDED_KEYS = ("text", "finish_reason", "new_tokens", "seed", *REPORTS, "error")


@dataclass
class Line:
    """A line of the input."""

    text: str
    """As it stands in the file."""
    values: dict[str, Any] = field(default_factory=dict)
    error: RequestError | None = None
    """Why it has no prompt."""

    def with_outcome(self, outcome: Outcome) -> str:
        """The line unchanged, with further keys; one that is no object, or has such a key, in ``line`` of a new one."""
        added = (
            {"error": str(outcome)} if isinstance(outcome, RequestError) else added_values(outcome)
        )
        if not self.values or "error" in self.values:
            return json.dumps({"line": self.text, **added})
        return f"{self.text[:-1].rstrip()}, {json.dumps(added)[1:]}"


class JsonPart:
    """Reads and writes parts.

    Args:
        place: of the input.
        id_column: key of ids; empty where none are needed.
        prompt_column: key of prompts.
    """

    ending = ".jsonl"

    def __init__(self, place: Place, id_column: str, prompt_column: str) -> None:
        self._place, self._id, self._prompt = place, id_column, prompt_column

    def read(self, part: Part) -> tuple[list[Line], list[Row | RequestError]]:
        """The lines that are not blank, and id and prompt of each."""
        with storage_errors(part.file), self._place.filesystem.open_input_file(part.file) as file:
            content = _lines_between(file, part.start, part.stop)
        lines = [self._line(raw.strip()) for raw in content.split(b"\n") if raw.strip()]
        return lines, [line.error or self._row(line) for line in lines]

    def write(self, lines: Sequence[Line], outcomes: Sequence[Outcome]) -> bytes:
        """The lines with what came of them."""
        pairs = zip(lines, outcomes, strict=True)
        return "".join(f"{line.with_outcome(outcome)}\n" for line, outcome in pairs).encode()

    def _row(self, line: Line) -> Row:
        return line.values.get(self._id), line.values[self._prompt]

    def _line(self, raw: bytes) -> Line:
        text = raw.decode("utf-8", "replace")
        try:
            raw.decode()
            values = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as reason:
            return Line(text, error=RequestError(f"the line is not JSON: {reason}."))
        if not isinstance(values, dict):
            return Line(text, error=RequestError("the line is not a JSON object."))
        return Line(text, values, self._key_error(values))

    def _key_error(self, values: dict[str, Any]) -> RequestError | None:
        for key in (self._prompt, self._id):
            if key and key not in values:
                return RequestError(f'the line has no "{key}".')
        if taken := [key for key in ADDED_KEYS if key in values]:
            return RequestError(
                f'the line has a "{taken[0]}" already, which the output adds: rename it.'
            )
        return None


def _lines_between(file: Any, start: int, stop: int) -> bytes:
    """The lines that begin at ``start`` or later, but before ``stop``."""
    begin = max(0, start - 1)  # the byte before tells whether a line begins at start
    file.seek(begin)
    content = bytes(file.read(stop - begin))
    if start:
        content = content.partition(b"\n")[2]
        if not content:  # no line begins here, but for one at the very end
            return b""
    while not content.endswith(b"\n") and (more := bytes(file.read(PIECE_BYTES))):
        head, end, _ = more.partition(b"\n")
        content += head + end
    return content


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
