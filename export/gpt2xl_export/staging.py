"""Write a folder aside and rename it into place: all of it or nothing."""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpt2xl.errors import ExportError
from gpt2xl.manifest import MANIFEST


@contextmanager
def staged_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """A fresh folder beside ``out`` that takes its name when the block ends well, and goes if not.

    Args:
        out: the folder to make.
        force: whether a bundle that is there may be replaced.

    Raises:
        ExportError: ``out`` exists and may not be replaced, or the disk is full or read-only.
    """
    refuse_existing(out, force)
    target = Path(os.path.realpath(out))  # a link to a bundle stays one
    # Named before it is made: an interrupt in between finds it below.
    staging = target.parent / f".{target.name}.partial-{secrets.token_hex(4)}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir(mode=0o700)
        yield staging
        staging.chmod(0o777 & ~_umask())
        _put_in_place(staging, target, force)
    except OSError as reason:
        raise _explained(out, reason) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def refuse_existing(out: Path, force: bool) -> None:
    """Raise ExportError when ``out`` cannot be created, or is there and may not be replaced."""
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
        raise ExportError(f"'{out}' exists and is no gpt2xl bundle: --force does not replace it.")
    if any(out.rglob("*.safetensors")):
        raise ExportError(f"'{out}' holds safetensors, too: --force does not replace them.")


def _put_in_place(staging: Path, out: Path, force: bool) -> None:
    old = staging.with_name(staging.name.replace(".partial-", ".old-"))
    if force and out.exists():
        out.rename(old)
    elif os.path.lexists(out):
        raise ExportError(f"'{out}' has come to exist meanwhile: nothing was written.")
    try:
        staging.rename(out)
    except BaseException:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _explained(out: Path, reason: OSError) -> ExportError:
    if reason.errno == errno.ENOSPC:
        return ExportError(f"the disk is full: '{out}' was not written, free some space first.")
    return ExportError(f"'{out}' cannot be written: {reason.strerror or reason}.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
