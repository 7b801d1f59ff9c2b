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
    if sys.platform != "linux":
        return 0
    libc, released = ctypes.CDLL(None), 0
    for (start, size), resident in _unchanged(f"{folder.resolve()}/", proc):
        failed = libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), mmap.MADV_DONTNEED)
        released += 0 if failed else resident
    return released


def _unchanged(prefix: str, proc: Path) -> Iterator[tuple[Range, int]]:
    """Mappings of files without a page of our own, which would be lost, and their resident bytes."""
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
