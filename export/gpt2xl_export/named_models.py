"""Bundles of models with a name: the built-in demo and models on the Hugging Face hub.

They are exported at their first use, into the user's cache; a wheel holds the demo's. Exporter and platformdirs
are imported when they are needed: a bundle that is there is found without them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import gpt2xl
from gpt2xl.bundle.demo import DEMO, demo_bundle
from gpt2xl.bundle.hints import did_you_mean
from gpt2xl.bundle.manifest import MANIFEST
from gpt2xl.errors import BusyError, CheckpointError, ExportError
from gpt2xl_export.places import (
    HUB_PRECISION,
    bundle_folder,
    bundle_names,
    cache_folder,
    remembered_exports,
)
from gpt2xl_export.source.disk_space import DiskNeeds
from gpt2xl_export.source.hub import ALIASES, Plan, is_hub_name, short_name
from gpt2xl_export.source.sources import Source, resolve
from gpt2xl_export.source.sums import file_sha256

if TYPE_CHECKING:
    from gpt2xl_export.progress import Progress

DEMO_PRECISION = "int8-weight"  # a quarter of float32, nearly exact on any CPU
POLL_SECONDS = 0.2
Note = Callable[[str], None]


def bundle_of(
    name: str,
    progress: Callable[["Progress"], None] | None = None,
    *,
    note: Note | None = None,
) -> Path:
    """The bundle folder of the model ``name``; downloads and exports it at its first use.

    Args:
        name: "demo", an alias such as "gpt2-xl", or owner/name on the hub.
        progress: called often during an export; during a download from a thread of its own.
        note: called with a sentence when an export, a download or a wait for another process begins.

    Raises:
        CheckpointError: there is no such model, or it cannot be downloaded.
        ExportError: the cache cannot be written, or the extra for exports is not installed.

    Example::

        folder = bundle_of("demo", note=print)
    """
    tell = note or _ignore
    if name == DEMO:
        return _demo(progress or _ignore, tell)
    if not is_hub_name(name):
        hint = did_you_mean(name, known_names())
        raise CheckpointError(f"'{name}' is neither '{DEMO}' nor a model's name on the hub{hint}")
    bundle = hub_bundle(name)

    def announce(plan: Plan) -> None:
        needs = DiskNeeds(plan, bundle, HUB_PRECISION)
        needs.check()
        tell(needs.note())

    def fetch() -> Source:
        return resolve(name, announce=announce, progress=progress or _ignore)

    return _exported(fetch, bundle, HUB_PRECISION, progress or _ignore, tell)


def hub_bundle(name: str) -> Path:
    """Where the bundle of a model on the hub is, or will be."""
    return bundle_folder(short_name(name), gpt2xl.__version__)


def known_names() -> list[str]:
    """Names of models, and folders of bundles, that `bundle_of` or `gpt2xl.load` takes on this machine."""
    exports = [str(folder) for folder in remembered_exports()]
    return [*dict.fromkeys((DEMO, *ALIASES, *bundle_names(), *exports))]


def demo_checkpoint() -> Path:
    """The demo's checkpoint folder in the checkout of an editable install; wheels have `demo_bundle` instead."""
    return Path(__file__).parents[2] / "models" / "demo"


def demo_folder() -> Path:
    """Where the demo's bundle is, or will be.

    Raises:
        CheckpointError: the demo is not in this installation.
    """
    if built := demo_bundle():
        return built
    weights = demo_checkpoint() / "model.safetensors"
    if not weights.is_file():
        raise CheckpointError(f"the demo's weights '{weights}' are missing: install gpt2xl again.")
    version = f"{DEMO_PRECISION}-{gpt2xl.__version__}-{file_sha256(weights)[:12]}"
    return cache_folder() / f"{DEMO}-{version}"


def _demo(progress: "Callable[[Progress], None]", note: Note) -> Path:
    checkpoint, bundle = demo_checkpoint(), demo_folder()

    def fetch() -> Source:
        return Source(checkpoint, checkpoint.name)

    if not _is_complete(bundle):
        note(f"First use: exporting {checkpoint} as {DEMO_PRECISION} to {bundle}")
    return _exported(fetch, bundle, DEMO_PRECISION, progress, note)


def _exported(
    fetch: Callable[[], Source],
    bundle: Path,
    precision: str,
    progress: "Callable[[Progress], None]",
    note: Note,
) -> Path:
    """Export to ``bundle`` unless it is there; if another process does so, wait for it."""
    is_told = False
    while not _is_complete(bundle):
        with _missing_extra_explained():
            from gpt2xl_export.exporting import export
            from gpt2xl_export.options import ExportOptions
        try:
            export(fetch, bundle, ExportOptions(precision), progress=progress)
        except BusyError:
            if not is_told:
                note(f"Waiting for another gpt2xl, which is making {bundle}")
            is_told = True
            time.sleep(POLL_SECONDS)
        except ExportError:
            if not _is_complete(bundle):  # otherwise another process was faster
                raise
    return bundle


def _is_complete(bundle: Path) -> bool:
    return (bundle / MANIFEST).is_file()


@contextmanager
def _missing_extra_explained() -> Iterator[None]:
    """Turn a failing import into an error that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as missing:
        raise ExportError(
            "a model with a name is exported at its first use, which needs `pip install 'gpt2xl[export,hub]'`"
            f" ({missing.name} is not installed)."
        ) from None


def _ignore(_: object) -> None:
    pass
