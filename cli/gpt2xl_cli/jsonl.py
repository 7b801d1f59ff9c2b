"""Files of gpt2xl batch: prompts in, texts out, and what is done so far in a .part file.

The .part file begins with a line about the run: a hash of the input, the model, and the options that
decide the texts. A line for each finished text follows, in the order in which they end. Only that file
is written before all is done, and only at its end, so a run killed at any time loses no finished text.
"""

import json
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from gpt2xl import Generation, RequestError
from gpt2xl.bundle import open_bundle
from gpt2xl.prompt_cache import bundle_id

FORMAT = 1
ADDED = ("text", "finish_reason", "new_tokens", "seed")


@dataclass(frozen=True)
class Line:
    """One of the input."""

    text: str
    """A JSON object."""
    prompt: str

    def with_result(self, result: dict[str, Any]) -> str:
        """The line as it was, with what ``result`` holds after its own keys."""
        added = json.dumps({key: result[key] for key in ADDED})
        return f"{self.text[:-1].rstrip()}, {added[1:]}"


def parse(content: str, name: str) -> list[Line]:
    """The lines of ``content``; ``name`` is for errors.

    Raises:
        RequestError: a line that is no JSON object, has no prompt, or has a key that the output adds.
    """
    texts = content.split("\n")
    if not texts[-1]:
        texts.pop()
    return [_line(text.strip(), f"{name}, line {number}") for number, text in enumerate(texts, 1)]


def _line(text: str, where: str) -> Line:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as reason:
        raise RequestError(f"{where} is not JSON: {reason}.") from None
    if not isinstance(values, dict):
        raise RequestError(f"{where} is not a JSON object.")
    if "prompt" not in values:
        raise RequestError(f'{where} has no "prompt".')
    if not isinstance(values["prompt"], str):
        raise RequestError(f'{where}: "prompt" has to be a string.')
    taken = [key for key in ADDED if key in values]
    if taken:
        raise RequestError(f'{where} has a "{taken[0]}" already, which the output adds: rename it.')
    return Line(text, values["prompt"])


def check_prompts(lines: Sequence[Line], name: str, check: Callable[[str], object]) -> None:
    """Let ``check`` see every prompt; a RequestError it raises gets the number of its line."""
    for number, line in enumerate(lines, 1):
        try:
            check(line.prompt)
        except RequestError as reason:
            raise RequestError(f"{name}, line {number}: {reason}") from None


def about(content: str, folder: Path, options: dict[str, Any], seed: int | None) -> dict[str, Any]:
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
        self._path = out.with_name(f"{out.name}.part")
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
        content = self._path.read_bytes() if self._path.exists() else b""
        if not content:
            return
        header, *rows = content.split(b"\n")[:-1] or [content]
        found = _json(header) or {}
        if found.get("gpt2xl batch") != FORMAT:
            raise RequestError(
                f"'{self._path}' is not of this gpt2xl batch: delete it or move it away."
            )
        wanted = dict(self._about)
        if wanted["seed"] is None and not wanted["greedy"]:
            wanted["seed"] = found.get("seed")
        other = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
        if other and not force:
            raise RequestError(
                f"'{self._path}' is of a run with another {' and '.join(other)}:"
                " delete it, or replace it with --force."
            )
        if not other:
            self._about["seed"] = found["seed"]
            self._take(header, rows)

    def _take(self, header: bytes, rows: list[bytes]) -> None:
        """Up to the first line that is torn."""
        self._size = len(header) + 1
        for line in rows:
            row = _json(line)
            if not row or not {"row", *ADDED} <= row.keys():
                return
            self.done[row.pop("row")] = row
            self._size += len(line) + 1

    def __enter__(self) -> "Part":
        self._file = self._path.open("r+b" if self._size else "wb")
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
        new_tokens = len(text.new_ids)
        values = (text.text, text.finish_reason, new_tokens, text.seed)
        self.done[number] = dict(zip(ADDED, values, strict=True))
        self._write({"row": number, **self.done[number]})

    def _write(self, values: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()

    def finish(self, lines: Sequence[Line], *, force: bool) -> None:
        """Write ``out``, aside and renamed, and remove the file of parts."""
        refuse_existing(self._out, force)  # it may have come to exist meanwhile
        target = Path(os.path.realpath(self._out))  # a link stays one
        aside = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
        try:
            with aside.open("x", encoding="utf-8", newline="\n") as file:
                for number, line in enumerate(lines):
                    file.write(line.with_result(self.done[number]) + "\n")
            os.replace(aside, target)
        finally:
            aside.unlink(missing_ok=True)
        self._path.unlink()


def _json(line: bytes) -> dict[str, Any] | None:
    """The object in ``line``, if there is one."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
