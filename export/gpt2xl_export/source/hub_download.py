"""Fetch the files of a plan from the hub into its usual cache, and check what arrived."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from gpt2xl.errors import CheckpointError
from gpt2xl_export.progress import Count, Progress, Steps
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

WATCH_SECONDS = 0.2
TRIES = 3  # on top of huggingface_hub's own, which do not cover every kind of broken connection


def download(plan: Plan, progress: Callable[[Progress], None] = lambda _: None) -> Path:
    """Fetch the missing files of ``plan``, check every file, and return the snapshot folder.

    Args:
        plan: what to fetch.
        progress: called with the bytes that have arrived, from a thread of its own, and with those that were hashed.

    Raises:
        CheckpointError: the disk is too small, the connection fails, or a file arrived damaged.
    """
    require_hub()
    _check_space(plan)
    path = Path()
    hashed = sum(file.size for file in plan.files if file.sha256)
    count = Steps(hashed, hashed, lambda *amounts: progress(Progress("arrived", *amounts))).add
    with _no_bars(), _watched(plan, lambda *amounts: progress(Progress("download", *amounts))):
        for file in plan.files:
            path = _fetch(plan, file.name)
            _verify(plan, file, path, count)
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


def _verify(plan: Plan, file: HubFile, path: Path, count: Callable[[int], None]) -> None:
    size = path.stat().st_size
    if size != file.size:
        fault = f"{size} bytes instead of {file.size}"
    elif file.sha256 is not None and (digest := file_sha256(path, count)) != file.sha256:
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
def _no_bars() -> Iterator[None]:
    """Keep huggingface_hub from showing bars of its own."""
    from huggingface_hub import constants
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    if constants.HF_HUB_DISABLE_PROGRESS_BARS is not None:  # the variable has precedence
        yield
        return
    disable_progress_bars("huggingface_hub")
    try:
        yield
    finally:
        enable_progress_bars("huggingface_hub")


@contextmanager
def _watched(plan: Plan, report: Count) -> Iterator[None]:
    """Report the bytes that have arrived, until the block ends.

    The size of the growing files is looked at, because huggingface_hub calls nothing back that all its versions have.
    """
    missing, ended = [file for file in plan.files if not _cached(plan, file)], Event()
    total = sum(file.size for file in missing)

    def watch() -> None:
        while not ended.wait(WATCH_SECONDS):
            report(min(total, sum(_arrived(plan, file) for file in missing)), total)

    if not total:
        yield
        return
    report(0, total)
    thread = Thread(target=watch, name="gpt2xl-download", daemon=True)
    thread.start()
    try:
        yield
        report(total, total)
    finally:
        ended.set()
        thread.join()


def _cached(plan: Plan, file: HubFile) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return bool(try_to_load_from_cache(plan.repo_id, file.name, revision=plan.revision))


def _arrived(plan: Plan, file: HubFile) -> int:
    """Bytes of a file that are in the cache."""
    from huggingface_hub import constants

    if _cached(plan, file):
        return file.size
    blobs = Path(constants.HF_HUB_CACHE) / f"models--{plan.repo_id.replace('/', '--')}" / "blobs"
    found = (
        [_size(path) for path in blobs.glob(f"{file.sha256}*.incomplete")] if file.sha256 else []
    )
    return min(file.size, max(found, default=0))


def _size(path: Path) -> int:
    """Bytes written; a file with holes is longer."""
    try:
        status = path.stat()
    except OSError:  # it has just got its name
        return 0
    blocks = getattr(status, "st_blocks", None)
    return status.st_size if blocks is None else min(status.st_size, 512 * blocks)
