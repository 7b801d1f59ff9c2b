"""The output of gpt2xl batch: stdout, or a file and what is done of it so far in a .part file.

The .part file begins with a line about the run: a hash of the input, the model, and the options that
decide the texts. A line for each finished text follows, in the order in which they end. Only that file
is written before all is done, and only at its end, so a run killed at any time loses no finished text.
"""

import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import IO, Any, get_args

from gpt2xl import Generation, RequestError
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.decoding.loop import FinishReason
from gpt2xl.decoding.prompt_cache import bundle_id
from gpt2xl.files.atomic import locked, written_aside
from gpt2xl.files.reading import check_regular
from gpt2xl_cli.batches.lines import ADDED, Line
from gpt2xl_cli.terminal import echo_text

FORMAT = 1
MAX_LINE_BYTES = 64 << 20


def run_header(
    content: str, folder: Path, options: dict[str, Any], seed: int | None
) -> dict[str, Any]:
    """The first line of a .part file.

    Args:
        content: the input.
        folder: the bundle; one without a manifest is known by its place only.
        options: those that decide the texts, the seed aside.
        seed: None where any will do.
    """
    bundle = open_bundle(folder)
    known = bundle.manifest is not None and bundle.manifest.files
    model = bundle_id(bundle) if known else str(folder.resolve())
    return {
        "gpt2xl batch": FORMAT,
        "input": sha256(content.encode()).hexdigest(),
        "model": model,
        **options,
        "seed": seed,
    }


def refuse_existing(out: Path, force: bool) -> None:
    """Raise RequestError when ``out`` cannot be written, or is there and may not be replaced."""
    if not out.parent.is_dir():
        raise RequestError(f"'{out}' cannot be written: '{out.parent}' is not a folder.")
    if os.path.lexists(out) and not force:
        raise RequestError(
            f"'{out}' exists already: choose another file, or replace it with --force."
        )
    if out.exists() and not out.is_file():
        raise RequestError(f"'{out}' exists and is no file: --force does not replace it.")


@contextmanager
def claimed(out: Path, *, force: bool) -> Iterator[None]:
    """Be the only process that writes ``out``; what a killed one left of it is removed.

    Raises:
        BusyError: another process is writing it.
        RequestError: it cannot be written, or is there and may not be replaced.
    """
    refuse_existing(out, force=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(out))
        except OSError as reason:
            raise RequestError(f"'{out}' cannot be written: {reason.strerror}.") from None
        if not force:  # which can use it
            _remove_finished(out)
        refuse_existing(out, force)
        yield


def _remove_finished(out: Path) -> None:
    """Remove the .part file if all its texts are in ``out``: a run was killed between its last steps."""
    part = _part_of(out)
    if not (out.is_file() and part.is_file()):
        return
    rows = _whole_lines(part)
    if (_json(next(rows, b"")) or {}).get("gpt2xl batch") == FORMAT:
        texts = [_json(line) or {} for line in _whole_lines(out)]
        wanted = [
            {"row": n, **{key: text.get(key) for key in ADDED}} for n, text in enumerate(texts)
        ]
        found = [row for line in rows if (row := _row(line))]
        if sorted(found, key=itemgetter("row")) == wanted:
            part.unlink()


def _whole_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file up to one that is torn: without an end, or longer than any text."""
    check_regular(path, RequestError)
    with path.open("rb") as file:
        while (line := file.readline(MAX_LINE_BYTES)).endswith(b"\n"):
            yield line[:-1]


def _row(line: bytes) -> dict[str, Any] | None:
    """The finished text in a line of a .part file, if there is one."""
    row = _json(line) or {}
    types = (int, str, str, int, int | None)
    whole = row.keys() == {"row", *ADDED} and all(
        isinstance(row[key], kind) and not isinstance(row[key], bool)
        for key, kind in zip(("row", *ADDED), types, strict=True)
    )
    return row if whole and row["finish_reason"] in get_args(FinishReason) else None


def _part_of(out: Path) -> Path:
    return out.with_name(f"{out.name}.part")


class Printed:
    """Lines on stdout, in the order of the input, each as soon as those before it are done."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines
        self._waiting: dict[int, Generation] = {}
        self.count = 0
        """Lines written."""

    def add(self, number: int, text: Generation) -> None:
        """Print line ``number`` with its text, and those that waited for it."""
        self._waiting[number] = text
        while self.count in self._waiting:
            result = _values(self._waiting.pop(self.count))
            echo_text(self._lines[self.count].with_result(result))
            self.count += 1


class Part:
    """What is done of ``out``, in a file beside it; as a context manager, open for more.

    Args:
        out: the file to come.
        about: the run; a seed it leaves open is that of the run that goes on, or drawn.
        force: whether another run's file may be replaced.

    Raises:
        RequestError: there is a file of another run, or of something else.
    """

    def __init__(self, out: Path, about: dict[str, Any], *, force: bool) -> None:
        self._out = out
        self.path = _part_of(out)
        self._about = about
        self._size = 0
        self._file: IO[bytes] | None = None
        self.done: dict[int, dict[str, Any]] = {}
        """The finished texts, by the number of their line from 0."""
        self._read(force)
        if about["seed"] is None and not about["greedy"]:
            about["seed"] = secrets.randbits(32)

    @property
    def seed(self) -> int | None:
        """Of the first line; None when greedy."""
        seed: int | None = self._about["seed"]
        return seed

    def _read(self, force: bool) -> None:
        if not os.path.lexists(self.path):
            return
        rows = _whole_lines(self.path)
        header = next(rows, b"")
        if not self.path.stat().st_size:
            return
        found = _json(header) or {}
        if found.get("gpt2xl batch") != FORMAT or not isinstance(found.get("seed"), int | None):
            raise RequestError(
                f"'{self.path}' is not of this gpt2xl batch: delete it or move it away."
            )
        wanted = dict(self._about)
        if wanted["seed"] is None and not wanted["greedy"]:
            wanted["seed"] = found.get("seed")
        other = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
        if other and not force:
            raise RequestError(
                f"'{self.path}' is of a run with another {' and '.join(other)}:"
                " delete it, or replace it with --force."
            )
        if not other:
            self._about["seed"] = found.get("seed")
            self._take(header, rows)

    def _take(self, header: bytes, rows: Iterator[bytes]) -> None:
        """Up to the first line that is torn."""
        self._size = len(header) + 1
        for line in rows:
            if not (row := _row(line)):
                return
            self.done[row.pop("row")] = row
            self._size += len(line) + 1

    def __enter__(self) -> "Part":
        self._file = self.path.open("r+b" if self._size else "wb")
        self._file.truncate(self._size)
        self._file.seek(self._size)
        if not self._size:
            self._write(self._about)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file:
            self._file.close()

    def add(self, number: int, text: Generation) -> None:
        """Keep the text of line ``number``; it is in the file when this returns."""
        values = _values(text)
        self._write({"row": number, **values})
        self.done[number] = values

    def _write(self, values: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()

    def count(self) -> int:
        """Finished texts in the file: after a signal, it knows better than ``done``."""
        with suppress(FileNotFoundError):
            return self.path.read_bytes().count(b"\n") - 1
        return len(self.done)

    def finish(self, lines: Sequence[Line], *, force: bool) -> None:
        """Write ``out``, aside and renamed, and remove the file of parts."""
        refuse_existing(self._out, force)  # it may have come to exist meanwhile
        with (
            written_aside(self._out) as aside,
            aside.open("x", encoding="utf-8", newline="\n") as file,
        ):
            for number, line in enumerate(lines):
                file.write(line.with_result(self.done[number]) + "\n")
        self.path.unlink()


def _values(text: Generation) -> dict[str, Any]:
    values = (text.text, text.finish_reason, len(text.new_ids), text.seed)
    return dict(zip(ADDED, values, strict=True))


def _json(line: bytes) -> dict[str, Any] | None:
    """The object in ``line``, if there is one."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
