"""Copy the model card, licence and notices of a checkpoint into its bundle."""

import shutil
from pathlib import Path

from gpt2xl_export.source.own_files import is_carried

PATTERNS = ("README*", "LICEN[CS]E*", "NOTICE*")


def carry_cards(source: Path, out: Path) -> None:
    """Copy those that ``source`` has; write a short model card if there is none.

    Warns:
        Gpt2xlWarning: a file is left out; see `gpt2xl_export.source.own_files`.
    """
    for path in sorted(path for pattern in PATTERNS for path in source.glob(pattern)):
        if is_carried(path):
            shutil.copyfile(path, out / path.name)
    if not (out / "README.md").exists():
        (out / "README.md").write_text(
            "Exported by gpt2xl from a checkpoint that came without a model card: gpt2xl.json says"
            " from which files.\n",
            "utf-8",
        )
