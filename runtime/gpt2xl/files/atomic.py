"""Write a file or folder aside and rename it into place: all of it or nothing, and nothing left.

``.NAME.partial-*`` stands aside until ``NAME`` is whole. A folder cannot replace another in one step, so
the old one is ``.NAME.old-*`` for a moment. ``.NAME.lock`` is locked by the process that writes ``NAME``.
The system frees the lock of a killed process: whoever acquires it may remove what the dead process left.
"""

import errno
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from gpt2xl.errors import BusyError

POLL_SECONDS, WAIT_SECONDS = 0.05, 60


@contextmanager
def locked(target: Path, *, wait: bool = False) -> Iterator[None]:
    """Be the only one who writes ``target``, and begin with removing what a killed process left of it.

    Where the file system has no locks, the block runs without one and nothing is removed.

    Args:
        target: file or folder, there or not; of a link, what it leads to.
        wait: whether to wait for another process or thread that writes it.

    Raises:
        BusyError: another one writes it, and ``wait`` is False or a minute has passed.
        OSError: nothing can be written beside it, or its name is too long.
    """
    real = _real(target)
    if not real.name:
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    path, end = _beside(real, "lock"), time.monotonic() + wait * WAIT_SECONDS
    while True:
        with _opened(path, target) as file:
            held = _lock(file.fileno())
            if held is False and time.monotonic() >= end:
                raise BusyError(
                    f"another gpt2xl is writing '{target}': wait until it has finished, or choose another"
                    " name."
                )
            if held is False:
                time.sleep(POLL_SECONDS)
            elif _is_at(path, file.fileno()):
                try:
                    if held:
                        _remove_leftovers(real)
                    yield
                finally:
                    if sys.platform == "win32":  # where no open file can be removed
                        file.close()
                    _remove(path)  # while it is locked: later it might be another's
                break


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """A new name for the block to make a file or folder of, which then becomes ``target``.

    Where the block raises, ``target`` stays as it was. Hold `locked` meanwhile.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     out = Path(folder, "out.txt")
        ...     with locked(out), written_aside(out) as aside:
        ...         _ = aside.write_text("whole")
        ...     out.read_text(), os.listdir(folder)
        ('whole', ['out.txt'])

    Raises:
        OSError: it cannot be renamed.
    """
    real = _real(target)
    aside = _beside(real, f"partial-{secrets.token_hex(4)}")
    try:
        yield aside
        if aside.is_dir() and real.is_dir():
            _replace_folder(aside, real)
        else:
            os.replace(aside, real)
    finally:
        _remove(aside)


def _replace_folder(aside: Path, target: Path) -> None:
    """Rename both; the old folder ends under the name ``aside``."""
    old = aside.with_name(aside.name.replace(".partial-", ".old-"))
    try:
        target.rename(old)
        aside.rename(target)
    finally:
        if old.exists():
            old.rename(aside if target.exists() else target)


def _remove_leftovers(target: Path) -> None:
    """Of writers that are dead; a folder that was about to be replaced gets its name back."""
    kind = re.compile(rf"\.{re.escape(target.name)}\.(partial|old)-[0-9a-f]{{8}}")
    for name in os.listdir(target.parent):
        if not (found := kind.fullmatch(name)):
            continue
        leftover = target.with_name(name)
        if found[1] == "old" and not os.path.lexists(target):
            leftover.rename(target)
            continue
        if found[1] == "old":  # half of one must not come back
            leftover = leftover.rename(_beside(target, f"partial-{secrets.token_hex(4)}"))
        _remove(leftover)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _real(target: Path) -> Path:
    return Path(os.path.realpath(target))


def _beside(target: Path, suffix: str) -> Path:
    return target.with_name(f".{target.name}.{suffix}")


def _opened(path: Path, target: Path) -> IO[bytes]:
    """The lock's file; errors name ``target``."""
    try:
        with suppress(FileNotFoundError):
            path.with_suffix(".partial-00000000").lstat()  # the longest name that will be needed
        # Neither through a link that somebody has put there, nor waiting for the reader of a pipe.
        safely = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | safely, 0o666), "r+b", 0)
    except OSError as reason:
        raise OSError(reason.errno, reason.strerror, str(target)) from None


def _lock(descriptor: int) -> bool | None:
    """Lock a file for as long as it is open; False: another one has, None: there are no locks."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as reason:
        return False if reason.errno in (errno.EACCES, errno.EAGAIN) else None
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file still has its name: its last holder may have removed it meanwhile."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False
