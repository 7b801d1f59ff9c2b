"""Whether the result of a command is allowed: the right output, or one line of error."""

import json
import re
import traceback
from pathlib import Path
from typing import Any, NamedTuple

from tests.fuzz.damages.place_damage import OUTSIDE

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / name) for name in ("runtime", "export", "evaluate", "cli"))
CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
LONGEST_LINE = 2000  # characters of an error; paths of the copies take some hundred
NOTE = re.compile(r"\d+ of \d+ texts were done already; resuming")
STRAY = re.compile(r"encountered in|[Dd]eprecat|ResourceWarning|__array")


class Ended(NamedTuple):
    """The result of a command."""

    code: int | None
    """The exit status; None if an exception was raised."""
    stdout: bytes
    stderr: bytes


class Fault(NamedTuple):
    """Why a case is a finding."""

    kind: str
    """"traceback", "hang"..."""
    where: str
    """Its group: exception and last frame in our code."""
    detail: str


class Wrong(Exception):  # noqa: N818
    """An output is wrong; the message says why."""


def of_exception(error: BaseException) -> Fault:
    """The exception that a command raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return Fault("traceback", f"{type(error).__name__} at {last_frame(frames)}", str(error)[:300])


def last_frame(frames: traceback.StackSummary) -> str:
    ours = [frame for frame in frames if frame.filename.startswith(OURS)]
    frame = ours[-1] if ours else frames[-1]
    return f"{Path(frame.filename).name}:{frame.name}"


def of_end(reads: str, ended: Ended) -> Fault | None:
    """The fault of a command that ended by itself."""
    try:
        errors = ended.stderr.decode()
        lines = errors.removesuffix("\n").split("\n") if errors else []
        if ended.code == 0:
            _check_notes(lines)
            result(reads, ended.stdout)
        else:
            _check_refusal(reads, ended, lines)
    except UnicodeDecodeError as reason:
        return Fault("output", f"{reads}: not UTF-8", str(reason))
    except Wrong as reason:
        return Fault("output", f"{reads}: {reason.args[0]}", (ended.stderr or ended.stdout).decode("utf-8", "replace")[:300])  # fmt: skip
    return None


def _check_notes(lines: list[str]) -> None:
    for line in lines:
        if not line.startswith("warning: ") and not NOTE.search(line):
            raise Wrong("an unknown line on stderr beside a result")
        _check_line(line)


def _check_refusal(reads: str, ended: Ended, lines: list[str]) -> None:
    if ended.code != 1:
        raise Wrong(f"exit status {ended.code}")
    rest = [line for line in lines if not line.startswith("warning: ") and not NOTE.search(line)]
    if len(rest) != 1 or not lines[-1].startswith("error: "):
        raise Wrong(f"{'no line' if not lines else 'several lines'} of error")
    for line in lines:
        _check_line(line)
    if ended.stdout and reads not in ("text", "verify"):  # these tell before they fail
        raise Wrong("an error and output")


def _check_line(line: str) -> None:
    if CONTROL.search(line):
        raise Wrong("control characters on stderr")
    if len(line) > LONGEST_LINE:
        raise Wrong("a very long line on stderr")
    if STRAY.search(line):
        raise Wrong(f"a stray warning: {line[:80]}")
    if re.fullmatch(r"error: \W*(None|\d+|'[^']*')?\W*", line):
        raise Wrong("an error that says nothing")


def result(reads: str, stdout: bytes) -> Any:
    """The output without what changes from run to run; raises Wrong if it is not valid."""
    text = stdout.decode()
    if reads == "text":
        return text
    if reads == "info":
        _check_info(text)
        return None
    if reads == "export":
        return None
    if reads == "batch":
        return None
    if reads == "verify" and not text.startswith("{"):
        if CONTROL.search(text):
            raise Wrong("control characters on stdout")
        return None
    values = _json(text)
    if reads == "json":
        if type(values.get("text")) is not str or values.get("finish_reason") not in (
            "stop",
            "length",
        ):
            raise Wrong("no text in it")
        return values["text"]
    if reads == "ids":
        if not all(type(number) is int for number in values["ids"]):
            raise Wrong("ids that are no integers")
        return values["ids"]
    return None


def _check_info(text: str) -> None:
    if CONTROL.search(text):
        raise Wrong("control characters on stdout")
    for line in text.splitlines():
        if not re.match(r"[A-Z].*?  +\S", line):
            raise Wrong("a line without its label")
        if len(line) > LONGEST_LINE:
            raise Wrong("a very long line")


def batch_texts(out: Path) -> list[Any]:
    """The texts of a finished batch; raises Wrong if its lines are not as documented."""
    rows = [json.loads(line) for line in out.read_text("utf-8").split("\n")[:-1]]
    for row in rows:
        types = (type(row.get("text")), type(row.get("new_tokens")), type(row.get("seed")))
        if types[:2] != (str, int) or types[2] not in (int, type(None)):
            raise Wrong("a line of the batch without its text")
        if row.get("finish_reason") not in ("stop", "length"):
            raise Wrong("a line of the batch without its finish_reason")
    return [row["text"] for row in rows]


def check_export(out: Path) -> None:
    """Raise Wrong if a bundle has the content of a link in its checkpoint."""
    for path in out.iterdir():
        if path.is_file() and OUTSIDE in path.read_text("utf-8", "replace"):
            raise Wrong("a file from outside of the checkpoint in the bundle")


def _json(text: str) -> dict[str, Any]:
    def refuse(name: str) -> float:
        raise Wrong(f"{name} in JSON")

    try:
        values = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise Wrong("no JSON") from None
    if not isinstance(values, dict):
        raise Wrong("JSON that is no object")
    return values
