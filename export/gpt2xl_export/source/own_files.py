"""Which small files of a checkpoint may be copied into its bundle: those in its own folder.

Bundles get published, and a link in a downloaded archive may point to any private file. So nothing is
copied through a link out of the folder, except into the blobs of the hub's cache. If such a file
decides what the bundle computes, it is refused; a model card, a licence or a chat template is left out
with a warning. Weights may be links to anywhere, as only numbers are copied of them.
"""

import os
from pathlib import Path
from warnings import warn

from gpt2xl.bundle.hints import is_lfs_pointer
from gpt2xl.errors import CheckpointError, Gpt2xlWarning
from gpt2xl.files.reading import belongs_to

MAX_BYTES = 16 << 20


def refuse_link_out(path: Path) -> None:
    """Raise CheckpointError if ``path`` is a link out of its folder."""
    if not belongs_to(path, path.parent):
        raise CheckpointError(f"'{path}' is a link out of its folder: copy the file there.")


def is_carried(path: Path) -> bool:
    """Whether the file ``path`` exists and may be copied.

    Warns:
        Gpt2xlWarning: it exists, but is a link elsewhere, too large, or a Git LFS pointer.
    """
    if not belongs_to(path, path.parent):
        reason = f"a link out of its folder, to '{path.resolve()}'. Copy the file there to have it in the bundle"  # fmt: skip
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
