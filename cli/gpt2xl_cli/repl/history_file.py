"""The file of the lines that were typed at a prompt."""

import os
from pathlib import Path

NAME = "repl_history"


def history_file(folder: Path) -> Path:
    """The file in ``folder``, which only the user may read; made where it is missing.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600))
    return path
