"""Make a bundle in a temporary folder, by one process at a time, and never replace anything else."""

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gpt2xl.bundle.manifest import MANIFEST
from gpt2xl.errors import ExportError
from gpt2xl.files.atomic import locked, written_atomically


@contextmanager
def claimed(out: Path, *, force: bool) -> Iterator[None]:
    """Be the only process that makes ``out``; removes what a killed process left of it.

    Args:
        out: the folder to make.
        force: whether an existing bundle may be replaced.

    Raises:
        BusyError: another process is making it.
        ExportError: it exists and may not be replaced, or cannot be made.
    """
    if not (out / MANIFEST).is_file():
        refuse_existing(out, force)
    with ExitStack() as stack:
        try:
            stack.callback(_remove_empty, _make_parents(out))
            stack.enter_context(locked(out))
        except OSError as reason:
            refuse_existing(out, force)
            raise _explained(out, reason) from None
        refuse_existing(out, force)  # again: only now no other process can make it
        yield


@contextmanager
def staged_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """A new folder beside ``out``, renamed to it when the block succeeds and removed if it fails.

    To be used inside `claimed`.

    Args:
        out: the folder to make.
        force: whether an existing bundle may be replaced.

    Raises:
        ExportError: ``out`` exists by now, or the disk is full or read-only.
    """
    try:
        with written_atomically(out) as staging:
            staging.mkdir()
            yield staging
            refuse_existing(out, force)
    except OSError as reason:
        raise _explained(out, reason) from None


def refuse_existing(out: Path, force: bool) -> None:
    """Raise ExportError if ``out`` has no valid name, or exists and may not be replaced."""
    try:
        os.path.realpath(out).encode()
    except UnicodeEncodeError:
        raise ExportError(f"'{out}' cannot be written: onnx asks for a path in UTF-8.") from None
    if not os.path.lexists(out):
        return
    if not force:
        raise ExportError(
            f"'{out}' exists already: choose another folder, or replace it with --force."
        )
    if not (out / MANIFEST).is_file():
        raise ExportError(
            f"'{out}' exists and is not a gpt2xl bundle: --force does not replace it."
        )
    if any(out.rglob("*.safetensors")):
        raise ExportError(f"'{out}' also holds safetensors: --force does not replace them.")


def _make_parents(out: Path) -> list[Path]:
    """Make the parents of ``out``; return the new ones, the innermost first."""
    parents = Path(os.path.realpath(out)).parents
    missing = [folder for folder in parents if not folder.exists()]
    parents[0].mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _explained(out: Path, reason: OSError) -> ExportError:
    if reason.errno == errno.ENOSPC:
        return ExportError(f"the disk is full: '{out}' was not written, free some space first.")
    return ExportError(f"'{out}' cannot be written: {reason.strerror or reason}.")
