"""Which small files of a checkpoint may go into its bundle: those that lie in its own folder.

A bundle is published. A link in a downloaded archive may lead to any file of whoever exports it, so
nothing is copied through a link out of the folder, except into the hub cache's blobs. Files that
decide what the bundle computes are refused then; a model card, a licence and a chat template are
left out with a warning. Weights may be links to anywhere: nothing but numbers is copied of them.
"""

import os
from pathlib import Path
from warnings import warn

from gpt2xl.bundle.hints import is_lfs_pointer
from gpt2xl.errors import CheckpointError, Gpt2xlWarning
from gpt2xl.files.reading import belongs_to

MAX_BYTES = 16 << 20


def refuse_link_out(path: Path) -> None:
    """Raise CheckpointError where ``path`` is a link that leads out of its folder."""
    if not belongs_to(path, path.parent):
        raise CheckpointError(f"'{path}' is a link out of its folder: copy the file there.")


def is_carried(path: Path) -> bool:
    """Whether the file at ``path`` is there and may be copied as it is.

    Warns:
        Gpt2xlWarning: it is there, but leads elsewhere, is too large, or is a Git LFS pointer.
    """
    if not belongs_to(path, path.parent):
        reason = f"a link out of its folder, to '{path.resolve()}'. Copy the file there to have it carried along"  # fmt: skip
    elif not os.path.isfile(path):
        return False
    elif path.stat().st_size > MAX_BYTES:
        reason = f"larger than {MAX_BYTES >> 20} MB"
    elif is_lfs_pointer(path):
        reason = "a Git LFS pointer, not the file itself. Run `git lfs pull` in its folder"
    else:
        return True
    warn(f"'{path}' is left out of the bundle: it is {reason}.", Gpt2xlWarning, 2)
    return False
