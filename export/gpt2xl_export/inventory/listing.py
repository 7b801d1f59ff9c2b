"""List the models on this machine, and find one by its name."""

import os
from pathlib import Path

from gpt2xl.bundle.demo import DEMO
from gpt2xl.bundle.hints import did_you_mean
from gpt2xl.bundle.manifest import MANIFEST
from gpt2xl.errors import BundleError
from gpt2xl_export.inventory.bundles import bundles, stored_bundle
from gpt2xl_export.inventory.hub_cache import checkpoints
from gpt2xl_export.inventory.stored import Kind, StoredModel
from gpt2xl_export.source.hub import ALIASES, is_hub_name, short_name


def stored_models() -> list[StoredModel]:
    """The models on this machine, the largest first."""
    return sorted([*bundles(), *checkpoints()], key=lambda model: -model.size)


def find_models(
    name: str, kind: Kind | None = None, *, to_remove: bool = False
) -> list[StoredModel]:
    """The bundle and the checkpoint that are called ``name``, the bundle first.

    Args:
        name: as --model takes it; a folder has precedence.
        kind: only those of this kind; None: of both.
        to_remove: an error says that nothing is to be removed, not how the model is made.

    Raises:
        BundleError: there is none.
    """
    if os.path.isdir(name):
        return [_bundle_at(Path(name))]
    models = [model for model in stored_models() if model.kind != "unfinished"]
    named = [model for model in models if model.name == short_name(name)]
    found = [model for model in named if kind in (None, model.kind)]
    if found:
        return sorted(found, key=lambda model: model.kind)
    if named:
        raise BundleError(
            f"'{name}' is not on this machine as a {kind}, only as a {named[0].kind}."
        )
    raise BundleError(f"'{name}' is not on this machine{_hint(name, models, to_remove)}")


def _hint(name: str, models: list[StoredModel], to_remove: bool) -> str:
    alike = did_you_mean(name, [model.name for model in models])
    if to_remove and (alike == "." or name in (DEMO, *ALIASES)):
        return ": there is nothing to remove."
    if name in (DEMO, *ALIASES) or (alike == "." and is_hub_name(name)):
        return f"; `gpt2xl generate -m {name}` makes it."
    return "; `gpt2xl models` lists what is." if alike == "." else alike


def _bundle_at(folder: Path) -> StoredModel:
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"'{folder}' is not a bundle that gpt2xl has exported.")
    return stored_bundle(Path(os.path.realpath(folder)))
