"""Bundles of models with a name: the built-in demo and models on the Hugging Face hub.

They are exported at their first use, into the user's cache; a wheel holds the demo's. Exporter and platformdirs
are imported when they are needed: a bundle that is there is found without them.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import gpt2xl
from gpt2xl.bundle.demo import DEMO, demo_bundle
from gpt2xl.bundle.manifest import MANIFEST
from gpt2xl.errors import BusyError, CheckpointError, ExportError
from gpt2xl_export.source.hub import Plan, is_hub_name
from gpt2xl_export.source.sources import Source, resolve
from gpt2xl_export.source.sums import file_sha256

if TYPE_CHECKING:
    from gpt2xl_export.exporting import Progress

DEMO_PRECISION = "int8-weight"  # a quarter of float32, nearly exact on any CPU
HUB_PRECISION = "int8"  # nearly exact, a quarter of the size
POLL_SECONDS = 0.2
Note = Callable[[str], None]


def bundle_of(
    name: str,
    progress: Callable[["Progress"], None] | None = None,
    *,
    note: Note | None = None,
    show_progress: bool = False,
) -> Path:
    """The bundle folder of the model ``name``; downloads and exports it at its first use.

    Args:
        name: "demo", an alias such as "gpt2-xl", or owner/name on the hub.
        progress: called often during an export.
        note: called with a sentence when an export, a download or a wait for another process begins.
        show_progress: whether huggingface_hub shows progress bars of downloads.

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
        raise CheckpointError(f"'{name}' is neither '{DEMO}' nor a model's name on the hub.")
    folder = f"{name.replace('/', '--')}-{HUB_PRECISION}-{gpt2xl.__version__}"

    def fetch() -> Source:
        return resolve(
            name,
            announce=lambda plan: tell(download_note(plan)),
            show_progress=show_progress,
        )

    return _exported(fetch, cache_folder() / folder, HUB_PRECISION, progress or _ignore, tell)


def cache_folder() -> Path:
    """The folder that GPT2XL_CACHE names, else gpt2xl's folder in the user's cache."""
    if named := os.environ.get("GPT2XL_CACHE"):
        return Path(named)
    with _missing_extra_explained():
        import platformdirs
    return platformdirs.user_cache_path("gpt2xl")


def demo_checkpoint() -> Path:
    """The demo's checkpoint folder in the checkout of an editable install; wheels have `demo_bundle` instead."""
    return Path(__file__).parents[2] / "models" / "demo"


def download_note(plan: Plan) -> str:
    """A sentence that announces a download and what is made of it."""
    then = (
        "."
        if plan.adapter
        else "; the bundle exported from it takes at most as much disk space as float32 weights"
        " (int8: a quarter of that)."
    )
    return (
        f"Downloading {plan.repo_id}: {plan.download_size / 1e6:.0f} MB of"
        f" {plan.total_size / 1e6:.0f} MB are not in the cache yet{then}"
    )


def _demo(progress: "Callable[[Progress], None]", note: Note) -> Path:
    if built := demo_bundle():
        return built
    checkpoint = demo_checkpoint()
    weights = checkpoint / "model.safetensors"
    if not weights.is_file():
        raise CheckpointError(f"the demo's weights '{weights}' are missing: install gpt2xl again.")
    folder = f"demo-{gpt2xl.__version__}-{file_sha256(weights)[:12]}"
    bundle = cache_folder() / folder

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
