"""Write a file or folder under a temporary name, then rename it: readers see all of it or nothing.

``NAME`` is written as ``.NAME.partial-*``. A folder cannot replace another in one step, so the old one is
renamed to ``.NAME.old-*`` for a moment. The process that writes ``NAME`` holds a lock on ``.NAME.lock``. The
system frees the lock of a killed process, and the next holder removes what that process has left.
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
    """Hold the lock on ``target`` during the block; first remove what a killed writer has left.

    Where the file system has no locks, the block runs without one and nothing is removed.

    Args:
        target: a file or folder, which need not exist; a link is followed.
        wait: whether to wait for another process or thread that holds the lock.

    Raises:
        BusyError: another one holds the lock, and ``wait`` is False or WAIT_SECONDS have passed.
        OSError: its folder is not writable, or its name is too long.
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
                    if sys.platform == "win32":  # an open file cannot be removed there
                        file.close()
                    _remove(path)  # before the lock is released: later it may be another writer's
                break


@contextmanager
def written_atomically(target: Path) -> Iterator[Path]:
    """A temporary name; what the block writes there is then renamed to ``target``.

    Where the block raises, ``target`` stays as it was. The caller holds `locked` meanwhile.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     out = Path(folder, "out.txt")
        ...     with locked(out), written_atomically(out) as temporary:
        ...         _ = temporary.write_text("whole")
        ...     out.read_text(), os.listdir(folder)
        ('whole', ['out.txt'])

    Raises:
        OSError: the file or folder cannot be renamed.
    """
    real = _real(target)
    temporary = _beside(real, f"partial-{secrets.token_hex(4)}")
    try:
        yield temporary
        if temporary.is_dir() and real.is_dir():
            _replace_folder(temporary, real)
        else:
            os.replace(temporary, real)
    finally:
        _remove(temporary)


def remove_atomically(target: Path) -> None:
    """Remove a file or folder: readers see all of it or nothing. The caller holds `locked` meanwhile.

    Raises:
        OSError: a part of it cannot be removed; what is left has a temporary name.
    """
    real = _real(target)
    temporary = real.rename(_beside(real, f"partial-{secrets.token_hex(4)}"))
    if temporary.is_dir():
        shutil.rmtree(temporary)
    else:
        temporary.unlink()


def leftovers(folder: Path) -> Iterator[tuple[Path, Path]]:
    """What killed writers have left in ``folder``, or others are writing: the target, and its temporary name."""
    kind = re.compile(r"\.(.+)\.(?:partial|old)-[0-9a-f]{8}")
    for name in os.listdir(folder):
        if found := kind.fullmatch(name):
            yield folder / found[1], folder / name


def _replace_folder(temporary: Path, target: Path) -> None:
    """Swap the folders: afterwards the old one has the name ``temporary``."""
    old = temporary.with_name(temporary.name.replace(".partial-", ".old-"))
    try:
        target.rename(old)
        temporary.rename(target)
    finally:
        if old.exists():
            old.rename(temporary if target.exists() else target)


def _remove_leftovers(target: Path) -> None:
    """Remove the files of killed writers; a folder that was being replaced gets its name back."""
    kind = re.compile(rf"\.{re.escape(target.name)}\.(partial|old)-[0-9a-f]{{8}}")
    for name in os.listdir(target.parent):
        if not (found := kind.fullmatch(name)):
            continue
        leftover = target.with_name(name)
        if found[1] == "old" and not os.path.lexists(target):
            leftover.rename(target)
            continue
        if found[1] == "old":  # a half removed one must not be restored
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
    """Open the lock file; errors name ``target``."""
    try:
        with suppress(FileNotFoundError):
            path.with_suffix(
                ".partial-00000000"
            ).lstat()  # raises if the longest name needed is too long
        # Do not follow a link that somebody has put there, and do not wait for the reader of a pipe.
        safely = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | safely, 0o666), "r+b", 0)
    except OSError as reason:
        raise OSError(reason.errno, reason.strerror, str(target)) from None


def _lock(descriptor: int) -> bool | None:
    """Lock an open file until it is closed; False: it is locked already, None: there are no locks."""
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
    """Whether ``path`` is still the open file: the last holder may have removed it."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False
