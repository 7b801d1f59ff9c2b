"""Carry model card, licence and notices of a checkpoint along into its bundle."""

import os
import shutil
from pathlib import Path
from warnings import warn

from gpt2xl.errors import Gpt2xlWarning
from gpt2xl.files import belongs_to

MAX_BYTES = 16 << 20
PATTERNS = ("README*", "LICEN[CS]E*", "NOTICE*")


def carry_cards(source: Path, out: Path) -> None:
    """Copy what there is; a link is followed inside ``source`` and into the hub's cache.

    Warns:
        Gpt2xlWarning: a file is left out, since it is too large, or leads elsewhere: anything might be published with
            the bundle.
    """
    for path in sorted(path for pattern in PATTERNS for path in source.glob(pattern)):
        if not belongs_to(path, source):
            warn(
                f"'{path}' is left out of the bundle: it is a link out of its folder, to"
                f" '{path.resolve()}'. Copy the file there to have it carried along.",
                Gpt2xlWarning,
                2,
            )
        elif os.path.isfile(path) and path.stat().st_size > MAX_BYTES:
            warn(
                f"'{path}' is left out of the bundle: it is larger than {MAX_BYTES >> 20} MB.",
                Gpt2xlWarning,
                2,
            )
        elif os.path.isfile(path):
            shutil.copyfile(path, out / path.name)
    if not (out / "README.md").exists():
        (out / "README.md").write_text(
            "Exported by gpt2xl from a checkpoint that came without a model card: gpt2xl.json says"
            " from which files.\n",
            "utf-8",
        )
