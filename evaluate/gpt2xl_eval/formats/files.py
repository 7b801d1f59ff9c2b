"""Find the files of a data set, and read them."""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from gpt2xl import RequestError
from gpt2xl.errors import first_line
from gpt2xl.files.reading import check_regular, read_bytes

MAX_BYTES = 1 << 30
ZIP_START = b"PK\x03\x04"


def files_in(path: Path, names: Sequence[str]) -> list[Path]:
    """``path`` itself if it is a file; of a folder the files of the first of ``names`` that is there, in their order.

    Args:
        path: a file or a folder.
        names: the preferred one first; wildcards as in a shell.

    Raises:
        RequestError: the folder has none of them.
    """
    if not path.is_dir():
        return [path]
    for name in names:
        if found := sorted(path.glob(name)):
            return found
    raise RequestError(f"'{path}' holds no {' or '.join(names)}.")


def read_utf8(path: Path) -> str:
    """The text of a file, with its line ends as they are.

    Raises:
        RequestError: it is missing, empty, too large, or not UTF-8.
    """
    content = read_bytes(path, RequestError, MAX_BYTES)
    if not content:
        raise RequestError(f"'{path}' is empty.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as reason:
        line = content.count(b"\n", 0, reason.start) + 1
        raise RequestError(
            f"'{path}', line {line}: byte 0x{content[reason.start]:02x} is not UTF-8."
        ) from None


def read_maybe_zipped(path: Path, name: str) -> bytes:
    """The content of a file, or of the file ``name`` in a zip archive.

    Raises:
        RequestError: it is missing, empty or too large, or the archive is damaged or has no such file.
    """
    check_regular(path, RequestError, MAX_BYTES)
    is_zipped = zipfile.is_zipfile(path)
    content = _unzipped(path, name) if is_zipped else read_bytes(path, RequestError, MAX_BYTES)
    if not content:
        raise RequestError(f"'{path}' is empty.")
    if content.startswith(ZIP_START):
        raise RequestError(f"'{path}' is a damaged zip archive: its list of files is missing.")
    return content


def _unzipped(path: Path, name: str) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            if name not in archive.namelist():
                raise RequestError(f"'{path}' is a zip archive without a file '{name}'.")
            if archive.getinfo(name).file_size > MAX_BYTES:
                raise RequestError(f"'{name}' in '{path}' is larger than {MAX_BYTES >> 20} MB.")
            return archive.read(name)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, zlib.error) as reason:
        raise RequestError(f"'{path}' is a damaged zip archive: {first_line(reason)}.") from None
