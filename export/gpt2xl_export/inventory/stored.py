"""What is known of a model on this machine."""

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


def last_read(path: Path) -> float:
    """When ``path`` was read, as far as its file system notes that, or written; 0 where it is missing."""
    try:
        found = path.stat()
    except OSError:
        return 0.0
    return max(found.st_atime, found.st_mtime)
