"""Fetch the files of a plan from the hub into its usual cache, and check what arrived."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpt2xl.errors import CheckpointError
from gpt2xl_export.source.hub import Plan
from gpt2xl_export.source.hub_errors import (
    explain,
    failures,
    http_status,
    os_fault,
    require_hub,
    root_cause,
)
from gpt2xl_export.source.hub_files import HubFile
from gpt2xl_export.source.sums import file_sha256

TRIES = 3  # on top of huggingface_hub's own, which do not cover every kind of broken connection


def download(plan: Plan, *, show_progress: bool) -> Path:
    """Fetch the missing files of ``plan``, check every file, and return the snapshot folder.

    Args:
        plan: what to fetch.
        show_progress: whether huggingface_hub shows its progress bars.

    Raises:
        CheckpointError: the disk is too small, the connection fails, or a file arrived damaged.
    """
    require_hub()
    _check_space(plan)
    path = Path()
    with _progress_bars(show_progress):
        for file in plan.files:
            path = _fetch(plan, file.name)
            _verify(plan, file, path)
    _remember(plan, path.parent)
    return path.parent


def _check_space(plan: Plan) -> None:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE).absolute()
    exists = next(folder for folder in (cache, *cache.parents) if os.path.exists(folder))
    need, free = plan.download_size, shutil.disk_usage(exists).free
    if need > free:
        raise CheckpointError(
            f"'{plan.repo_id}' needs {need / 1e9:.2f} GB in {cache}, where {free / 1e9:.2f} GB are"
            " free: make room, or set HF_HOME to a folder on a larger disk."
        )


def _fetch(plan: Plan, name: str) -> Path:
    # One file at a time, in this thread: snapshot_download reacts to Ctrl-C only when its current files
    # are complete, and returns an incomplete folder if the hub cannot be reached.
    from huggingface_hub import hf_hub_download

    tries = 1
    while True:
        try:
            return Path(hf_hub_download(plan.repo_id, name, revision=plan.revision))
        except failures() as wrapped:
            error = root_cause(wrapped)
            if tries == TRIES or http_status(error) or os_fault(error):  # not a broken connection
                what = f"'{name}' of '{plan.repo_id}'"
                raise explain(error, what, plan.repo_id, plan.revision) from None
        tries += 1
        time.sleep(1)


def _verify(plan: Plan, file: HubFile, path: Path) -> None:
    size = path.stat().st_size
    if size != file.size:
        fault = f"{size} bytes instead of {file.size}"
    elif file.sha256 is not None and (digest := file_sha256(path)) != file.sha256:
        fault = f"SHA-256 {digest} instead of {file.sha256}"
    else:
        return
    with suppress(OSError):  # a read-only cache
        _delete_with_blob(path)
    then = f"delete {path} and" if path.exists() else "it was deleted from the cache,"
    raise CheckpointError(
        f"'{file.name}' of '{plan.repo_id}' is damaged ({fault}): {then} run again to download it."
    )


def _delete_with_blob(path: Path) -> None:
    while path.is_symlink():
        target = path.parent / path.readlink()
        path.unlink()
        path = target
    path.unlink(missing_ok=True)


def _remember(plan: Plan, folder: Path) -> None:
    """Store which commit the branch or tag is at, for offline mode."""
    ref = folder.parents[1] / "refs" / plan.asked
    if plan.asked == plan.revision or (ref.is_file() and ref.read_text() == plan.revision):
        return
    with suppress(OSError):  # a read-only cache
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(plan.revision)


@contextmanager
def _progress_bars(show: bool) -> Iterator[None]:
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    if show or constants.HF_HUB_DISABLE_PROGRESS_BARS is not None:  # the variable has precedence
        yield
        return
    disable_progress_bars("huggingface_hub")
    try:
        yield
    finally:
        enable_progress_bars("huggingface_hub")
