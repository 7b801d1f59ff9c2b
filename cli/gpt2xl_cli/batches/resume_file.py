"""The finished texts of a run, in OUT.part beside the output until all are done.

The first line is the run header: a hash of the input, the model, and the options that decide the texts.
One line for each finished text follows, in the order in which the texts end. The file is only ever
appended to, so a run killed at any time loses no finished text.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from gpt2xl import Generation, RequestError
from gpt2xl.files.atomic import written_atomically
from gpt2xl_cli.batches.claim import refuse_existing, resume_path
from gpt2xl_cli.batches.lines import Line
from gpt2xl_cli.batches.results import Result, indexed_result, result_of
from gpt2xl_cli.batches.run_header import RunHeader, differences, is_header
from gpt2xl_cli.resuming.line_file import LineFile


class ResumeFile:
    """The finished texts of ``out``; as a context manager, open to add more.

    Args:
        out: the output of the run.
        header: of this run; a seed of None becomes that of the run to resume, or is drawn.
        force: whether to replace the file of another run.

    Raises:
        RequestError: the file belongs to another run, or is something else.
    """

    def __init__(self, out: Path, header: RunHeader, *, force: bool) -> None:
        self._out = out
        self.path = resume_path(out)
        self._header = header
        self._lines = LineFile(self.path)
        self.done: dict[int, Result] = {}
        """The finished texts, by the index of their line from 0."""
        self._read(force)
        if header["seed"] is None and not header["greedy"]:
            header["seed"] = secrets.randbits(32)

    @property
    def seed(self) -> int | None:
        """The seed of the first line's text; None if greedy."""
        seed: int | None = self._header["seed"]
        return seed

    def _read(self, force: bool) -> None:
        found = self._lines.header()
        if found is None:
            return
        if not is_header(found):
            raise RequestError(
                f"'{self.path}' was not written by this gpt2xl batch: delete it or move it away."
            )
        other = differences(self._header, found)
        if not other:
            self._header["seed"] = found.get("seed")
            self.done = dict(self._lines.take(indexed_result))
        elif not force:
            raise RequestError(
                f"'{self.path}' belongs to a run with another {' and '.join(other)}:"
                " delete it, or replace it with --force."
            )

    def __enter__(self) -> "ResumeFile":
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

    def add(self, index: int, generation: Generation) -> None:
        """Keep the text of the line ``index``, counted from 0; it is in the file when this returns."""
        result = result_of(generation)
        self._lines.write({"row": index, **result})
        self.done[index] = result

    def count(self) -> int:
        """Count the texts in the file: a signal between file and ``done`` leaves ``done`` behind."""
        with suppress(FileNotFoundError):
            return self.path.read_bytes().count(b"\n") - 1
        return len(self.done)

    def finish(self, lines: Sequence[Line], *, force: bool) -> None:
        """Write the output in the order of the input, and remove this file."""
        refuse_existing(self._out, force)  # it may have appeared during the run
        with (
            written_atomically(self._out) as temporary,
            temporary.open("x", encoding="utf-8", newline="\n") as file,
        ):
            for index, line in enumerate(lines):
                file.write(line.with_result(self.done[index]) + "\n")
        self.path.unlink()
