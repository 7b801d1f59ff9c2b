"""Hand back pages of weights that were read once.

onnxruntime maps a graph's data file and copies most of it into its kernels' layout, but what it has
read stays mapped: with GPT-2 XL in int4, the scales and the embedding count twice, 180 MB. Later each
row of the embedding that a prompt needs brings its neighbours along, 80 MB for 900 ids.
"""

import ctypes
import mmap
import sys
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
Range = tuple[int, int]  # first address, bytes


def release_pages(folder: Path, proc: Path = PROC) -> int:
    """Let go of what this process has mapped of files in ``folder``; what is used again comes back by itself.

    Returns:
        The bytes that were resident; 0 where the system does not know such a thing.
    """
    return sum(resident for span, resident in unchanged(folder, proc) if release(span))


def release(span: Range) -> bool:
    """Let go of one of the mappings that `unchanged` gave; whether the system did."""
    start, size = map(ctypes.c_size_t, span)
    return bool(ctypes.CDLL(None).madvise(start, size, mmap.MADV_DONTNEED) == 0)


def unchanged(folder: Path, proc: Path = PROC) -> Iterator[tuple[Range, int]]:
    """Mappings of files in ``folder`` without a page of our own, which would be lost, and their resident bytes.

    Takes milliseconds for every GB of the process.
    """
    if sys.platform != "linux":
        return
    prefix = f"{folder.resolve()}/"
    try:
        lines = (proc / "self" / "smaps").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    span, resident, wanted = (0, 0), 0, False
    for line in lines:
        words = line.split(None, 5)
        if not words[0].endswith(
            ":"
        ):  # a mapping begins: addresses, rights, offset, device, inode, path
            first, last = (int(address, 16) for address in words[0].split("-"))
            span, wanted = (first, last - first), words[-1].startswith(prefix)
        elif wanted and words[0] == "Rss:":
            resident = int(words[1]) * 1024
        elif wanted and words[0] == "Anonymous:" and words[1] == "0" and resident:
            yield span, resident
