"""What is known of a model on this machine."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["bundle", "checkpoint", "unfinished"]
"""A bundle runs; of a checkpoint a bundle is made; an unfinished one is being made, or was when it was interrupted."""


@dataclass(frozen=True)
class StoredModel:
    """A folder with a model."""

    name: str
    """What --model takes."""
    kind: Kind
    folder: Path
    size: int
    """Bytes of all files."""
    precision: str | None
    """None where the folder does not say."""
    last_read: float
    """When the file system has noted a read, or else a write; seconds since 1970."""


def size_of(folder: Path) -> int:
    """Bytes of all files in ``folder``; links are not followed."""
    return sum(path.lstat().st_size for path in _files(folder) if not path.is_symlink())


def last_read(path: Path) -> float:
    """When ``path`` was read, as far as its file system notes that, or written; 0 where it is missing."""
    try:
        found = path.stat()
    except OSError:
        return 0.0
    return max(found.st_atime, found.st_mtime)


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)
