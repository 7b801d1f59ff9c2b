"""Read small untrusted files, and check which files belong to a folder."""

import os
from pathlib import Path, PurePosixPath, PureWindowsPath

from gpt2xl.errors import Gpt2xlError

MAX_BYTES = 64 << 20


def read_bytes(path: Path, error: type[Gpt2xlError], max_bytes: int = MAX_BYTES) -> bytes:
    """The content of ``path``.

    Raises:
        error: the file is missing, not regular, larger than ``max_bytes``, or unreadable.
    """
    check_regular(path, error, max_bytes)
    try:
        with open(path, "rb") as file:
            content = file.read(max_bytes + 1)
    except OSError as reason:
        raise error(f"'{path}' cannot be read: {reason.strerror}.") from None
    if len(content) > max_bytes:  # it grows while it is read
        raise _too_large(path, error, max_bytes)
    return content


def check_regular(path: Path, error: type[Gpt2xlError], max_bytes: int | None = None) -> None:
    """Raise ``error`` unless ``path`` is a file of at most ``max_bytes``, or a link to one.

    Opening a FIFO would block, and a device or a sparse file would fill the memory.
    """
    if not os.path.isfile(path):
        what = "is not a regular file" if os.path.exists(path) else "does not exist"
        raise error(f"'{path}' {what}.")
    if max_bytes is not None and os.path.getsize(path) > max_bytes:
        raise _too_large(path, error, max_bytes)


def _too_large(path: Path, error: type[Gpt2xlError], max_bytes: int) -> Gpt2xlError:
    return error(f"'{path}' is larger than the {max_bytes >> 20} MB that are read of it.")


def read_text(path: Path, error: type[Gpt2xlError], max_bytes: int = MAX_BYTES) -> str:
    """The UTF-8 text in ``path``; raises ``error`` as `read_bytes` does, and where it is not UTF-8."""
    try:
        return read_bytes(path, error, max_bytes).decode("utf-8")
    except UnicodeDecodeError as reason:
        raise error(
            f"'{path}' is not UTF-8: byte 0x{reason.object[reason.start]:02x} at offset"
            f" {reason.start}."
        ) from None


def folder_size(folder: Path) -> int:
    """Bytes of all files in ``folder``, each once; a link counts as the file it leads to."""
    sizes = dict[tuple[int, int], int]()
    for parent, _, names in os.walk(folder):
        for path in (os.path.join(parent, name) for name in names):
            if os.path.isfile(path):  # not a link to nowhere
                found = os.stat(path)
                sizes[found.st_dev, found.st_ino] = found.st_size
    return sum(sizes.values())


def is_inside(name: str) -> bool:
    r"""Whether the relative path ``name`` stays inside its folder, on any operating system.

    >>> [is_inside(name) for name in ("onnx/model.onnx_data", "../a", "/a", "C:a", "b\\..\\..\\a")]
    [True, False, False, False, False]
    """
    paths = PurePosixPath(name), PureWindowsPath(name)
    leads_out = any(path.drive or path.root or ".." in path.parts for path in paths)
    return bool(name) and "\0" not in name and not leads_out


def belongs_to(path: Path, folder: Path) -> bool:
    """Whether ``path``, with links followed, lies in ``folder`` or in the hub cache's blobs of the same model.

    The hub cache keeps a model in ``snapshots/COMMIT``, whose files are links to the ``blobs`` beside it. Links
    to other places may come from a malicious archive.
    """
    # os.path.realpath, since Path.resolve raises for a link to itself.
    folder, path = Path(os.path.realpath(folder)), Path(os.path.realpath(path))
    snapshots = [parent for parent in folder.parents if parent.name == "snapshots"]
    return any(map(path.is_relative_to, [folder, *(s.parent / "blobs" for s in snapshots)]))
