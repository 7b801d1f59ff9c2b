"""Find the data of tasks in a folder, by the names under which it is distributed."""

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from gpt2xl import RequestError

DEEPEST, MOST_PATHS = 5, 100_000
"""How many folders deep, and at how many files and folders, to look."""


class DataFolder:
    """What lies in a folder and the folders in it.

    Raises:
        RequestError: it is no folder, cannot be read, or holds too much to be one of data sets.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise RequestError(f"'{folder}' is not a folder.")
        self._paths = list[tuple[str, Path]]()
        """Absolute, with slashes, those of folders with one at the end; and as given."""
        for path in _paths_in(folder):
            end = "/" if path.is_dir() else ""
            self._paths.append((f"{Path(os.path.abspath(path)).as_posix()}{end}", path))
            if len(self._paths) > MOST_PATHS:
                raise RequestError(
                    f"'{folder}' holds more than {MOST_PATHS:,} files: name the folder of the data sets."
                )

    def find(self, patterns: Sequence[str]) -> Path | None:
        """The file or folder whose path ends like the first of ``patterns`` that any ends like; None without any."""
        for pattern in patterns:
            for absolute, path in self._paths:
                if fnmatchcase(absolute, f"*/{pattern}"):
                    return path
        return None


def _paths_in(folder: Path) -> Iterator[Path]:
    """Files and folders in ``folder``, in the order of their names; hidden ones are left out."""
    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if name[0] != ".") if depth < DEEPEST else []
        yield from (Path(place, name) for name in [*folders, *sorted(files)] if name[0] != ".")
