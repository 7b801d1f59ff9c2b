"""Claim the output of gpt2xl batch: one process writes it, and nothing is replaced by accident."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import itemgetter
from pathlib import Path

from gpt2xl import RequestError
from gpt2xl.files.atomic import locked
from gpt2xl_cli.batches.results import ADDED_KEYS, indexed_result
from gpt2xl_cli.batches.run_header import is_header
from gpt2xl_cli.resuming.line_file import json_object, whole_lines


@contextmanager
def claimed(out: Path, *, force: bool) -> Iterator[None]:
    """Be the only process that writes ``out``; remove what a killed one left behind.

    Raises:
        BusyError: another process is writing it.
        RequestError: it cannot be written, or exists and must not be replaced.
    """
    refuse_existing(out, force=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(out))
        except OSError as reason:
            raise RequestError(f"'{out}' cannot be written: {reason.strerror}.") from None
        if not force:  # with it, the run resumes from the file of a finished one
            _remove_finished(out)
        refuse_existing(out, force)
        yield


def refuse_existing(out: Path, force: bool) -> None:
    """Raise RequestError if ``out`` cannot be written, or exists and must not be replaced."""
    if not out.parent.is_dir():
        raise RequestError(f"'{out}' cannot be written: '{out.parent}' is not a folder.")
    if os.path.lexists(out) and not force:
        raise RequestError(
            f"'{out}' exists already: choose another file, or replace it with --force."
        )
    if out.exists() and not out.is_file():
        raise RequestError(f"'{out}' exists and is not a file: --force does not replace it.")


def resume_path(out: Path) -> Path:
    """The resume file of ``out``: OUT.part."""
    return out.with_name(f"{out.name}.part")


def _remove_finished(out: Path) -> None:
    """Remove OUT.part if ``out`` holds all its texts: a run was killed between its last two steps."""
    path = resume_path(out)
    if not (out.is_file() and path.is_file()):
        return
    lines = whole_lines(path)
    if not is_header(json_object(next(lines, b"")) or {}):
        return
    texts = [json_object(line) or {} for line in whole_lines(out)]
    written = [
        (index, {key: text[key] for key in ADDED_KEYS if key in text})
        for index, text in enumerate(texts)
    ]
    found = [result for line in lines if (result := indexed_result(line))]
    if sorted(found, key=itemgetter(0)) == written:
        path.unlink()
