"""Bundles on this machine: those in gpt2xl's cache, and those that `gpt2xl export` has written elsewhere."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gpt2xl.bundle.demo import DEMO
from gpt2xl.bundle.manifest import MANIFEST
from gpt2xl.errors import BundleError, CheckpointError
from gpt2xl.files.atomic import leftovers
from gpt2xl.files.json_values import read_json
from gpt2xl.files.reading import folder_size
from gpt2xl_export.inventory.stored import StoredModel, last_read
from gpt2xl_export.named_models import demo_folder, hub_bundle
from gpt2xl_export.places import cache_folder, folders_in, name_in_cache, remembered_exports
from gpt2xl_export.source.hub import is_hub_name


def bundles() -> Iterator[StoredModel]:
    """The bundles whose folders are known, and what is unfinished of others."""
    folders = [*_demo(), *folders_in(cache_folder()), *remembered_exports()]
    for folder in dict.fromkeys(Path(os.path.realpath(folder)) for folder in folders):
        if (folder / MANIFEST).is_file():
            yield stored_bundle(folder)
    for place in dict.fromkeys([cache_folder(), *(f.parent for f in remembered_exports())]):
        yield from _unfinished(place)


def stored_bundle(folder: Path) -> StoredModel:
    """The bundle in ``folder``."""
    precision = None
    with suppress(BundleError):
        precision = read_json(folder / MANIFEST, BundleError).get("precision")
    return StoredModel(
        name=_name(folder),
        kind="bundle",
        folder=folder,
        size=folder_size(folder),
        precision=precision if isinstance(precision, str) else None,
        last_read=last_read(folder / "tokenizer.json"),  # read at each use, but not here
    )


def _unfinished(place: Path) -> Iterator[StoredModel]:
    """The exports to folders in ``place`` that were interrupted, or are being made."""
    with suppress(OSError):
        for target, folder in leftovers(place):
            if (
                target.parent == cache_folder() or target in remembered_exports()
            ) and folder.is_dir():
                size, written = folder_size(folder), folder.stat().st_mtime
                yield StoredModel(str(target), "unfinished", folder, size, None, written)


def _name(folder: Path) -> str:
    """What --model takes for the bundle in ``folder``: its short name where it has one, else the folder."""
    if folder in map(_real, _demo()):
        return DEMO
    name = name_in_cache(folder)
    is_used = name is not None and is_hub_name(name) and _real(hub_bundle(name)) == folder
    return name if name and is_used else str(folder)


def _demo() -> Iterator[Path]:
    with suppress(CheckpointError):
        yield demo_folder()


def _real(folder: Path) -> Path:
    return Path(os.path.realpath(folder))
