"""Remove models from this machine."""

import os
from collections.abc import Iterator
from pathlib import Path

from gpt2xl.bundle.demo import DEMO
from gpt2xl.bundle.manifest import MANIFEST, read_manifest
from gpt2xl.errors import BundleError, BusyError, ExportError
from gpt2xl.files.atomic import locked, remove_atomically
from gpt2xl_export.inventory.hub_cache import remove_checkpoint
from gpt2xl_export.inventory.registry import forget_missing_exports
from gpt2xl_export.inventory.stored import StoredModel
from gpt2xl_export.places import cache_folder


def check_removable(model: StoredModel) -> None:
    """Raise BundleError where a bundle outside the cache is not complete, or its folder holds other files, too."""
    if model.kind != "bundle" or _is_in_cache(model.folder):
        return
    if model.name == DEMO:
        raise BundleError("the demo is a part of gpt2xl: `pip uninstall gpt2xl` removes it.")
    manifest = read_manifest(model.folder)
    listed = {MANIFEST, *(manifest.files if manifest else ())}
    present = set(_files(model.folder))
    if missing := sorted(listed - present):
        raise BundleError(
            f"'{model.folder}' is not a complete bundle ({missing[0]} is missing): remove it by hand."
        )
    if others := sorted(present - listed):
        raise BundleError(
            f"'{model.folder}' holds other files than the bundle's, such as {others[0]!r}: move them, or"
            " remove the folder by hand."
        )


def remove(model: StoredModel) -> int:
    """Remove a bundle, a checkpoint of the hub's cache, or what is unfinished; the number of bytes freed.

    Raises:
        BundleError: it is not to be removed; see `check_removable`.
        BusyError: another process is making it.
        CheckpointError: a file of the hub's cache cannot be removed.
        ExportError: a file of a bundle cannot be removed.
    """
    check_removable(model)
    if model.kind == "checkpoint":
        remove_checkpoint(model.folder)
        return model.size
    target = model.folder if model.kind == "bundle" else Path(model.name)
    was_there = target.exists()
    try:
        with locked(
            target
        ):  # removes what is unfinished, or gives a bundle that was being replaced its name back
            if model.kind == "bundle":
                remove_atomically(target)
    except OSError as reason:
        raise ExportError(f"'{model.folder}' cannot be removed: {reason.strerror}.") from None
    if model.kind == "bundle":
        forget_missing_exports()
    elif model.folder.exists():  # the file system has no locks
        raise BusyError(f"'{model.folder}' may be in use: remove it by hand.")
    return model.size if was_there or not target.exists() else 0


def _is_in_cache(folder: Path) -> bool:
    return folder.is_relative_to(os.path.realpath(cache_folder()))


def _files(folder: Path) -> Iterator[str]:
    """The paths in ``folder`` of all that is not a folder."""
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            yield path.relative_to(folder).as_posix()
