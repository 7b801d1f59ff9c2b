"""Remember the folders that `gpt2xl export` writes, so that they can be listed."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from gpt2xl.errors import Gpt2xlError
from gpt2xl.files.atomic import locked, written_atomically
from gpt2xl_export.places import REGISTRY, cache_folder, remembered_exports

MAX_FOLDERS = 1000


def remember_export(folder: Path) -> None:
    """Add ``folder`` to the registry; does nothing where the cache cannot be written."""
    _rewrite(lambda folders: [*folders, Path(os.path.realpath(folder))])


def forget_missing_exports() -> None:
    """Drop the folders that are gone from the registry, if there is one."""
    if (cache_folder() / REGISTRY).exists():
        _rewrite(lambda folders: folders)


def _rewrite(change: Callable[[list[Path]], list[Path]]) -> None:
    file = cache_folder() / REGISTRY
    with suppress(OSError, Gpt2xlError):
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file, wait=True), written_atomically(file) as temporary:
            folders = dict.fromkeys(map(str, change(remembered_exports())))
            temporary.write_text(json.dumps([*folders][-MAX_FOLDERS:], indent=1) + "\n", "utf-8")
