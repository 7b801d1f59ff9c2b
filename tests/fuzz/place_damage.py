"""Damages of the place: no file where one is looked for, or something else than a file."""

import os
from pathlib import Path
from random import Random

OUTSIDE = "nothing of this file belongs into a bundle"


def damage_place(rng: Random, path: Path, elsewhere: Path) -> str:
    """Put something else at ``path``; ``elsewhere`` is a folder outside that links may lead to."""
    size = path.stat().st_size
    moved = elsewhere / path.name
    moved.write_bytes(path.read_bytes())
    whats = ("missing", "empty", "a folder", "a full folder", "a link out of the folder", "a link to itself",
             "a link to nothing", "a link to a folder", "unreadable")  # fmt: skip
    what = rng.choice((*whats, *whats, "a pipe", "a device", "a gap of 8 GB"))
    if path.name == "README.md":
        moved.write_text(OUTSIDE)
    path.unlink()
    if what == "empty":
        path.touch()
    elif what == "a folder":
        path.mkdir()
    elif what == "a full folder":
        path.mkdir()
        (path / path.name).write_text("{}")
    elif what.startswith("a link"):
        targets = {"out of the folder": moved, "to itself": path, "to nothing": elsewhere / "nothing", "to a folder": elsewhere}  # fmt: skip
        path.symlink_to(targets[what.removeprefix("a link ")])
    elif what == "unreadable":
        path.write_bytes(moved.read_bytes())
        path.chmod(0)
    elif what == "a pipe":
        os.mkfifo(path)
    elif what == "a device":
        path.symlink_to("/dev/zero")
    elif what == "a gap of 8 GB":
        path.write_bytes(moved.read_bytes())
        os.truncate(path, size + (8 << 30))
    return what
