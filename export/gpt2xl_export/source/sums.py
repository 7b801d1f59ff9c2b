"""Checksums of files."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

CHUNK = 1 << 23  # bytes between two reports


def file_sha256(path: Path, count: Callable[[int], None] = lambda _: None) -> str:
    """SHA-256 of the content of a file, in hex; ``count`` is called with the bytes of each part that was read."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
            count(size)
    return digest.hexdigest()


def sha256_of_files(
    paths: Sequence[Path], report: Callable[[int, int], None] = lambda *_: None
) -> dict[str, str]:
    """SHA-256 of each file, by file name; ``report`` is called with (bytes read, bytes in all)."""
    total, done = sum(path.stat().st_size for path in paths), 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        report(done, max(done, total))

    report(0, total)
    return {path.name: file_sha256(path, count) for path in paths}
