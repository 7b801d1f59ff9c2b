"""GPT-2 checkpoints in the Hugging Face hub's cache, which gpt2xl shares with transformers and others."""

import os
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gpt2xl.errors import BusyError, CheckpointError
from gpt2xl.files.json_values import read_json
from gpt2xl.files.reading import folder_size
from gpt2xl_export.inventory.stored import StoredModel, last_read
from gpt2xl_export.source.hub import short_name
from gpt2xl_export.source.hub_errors import require_hub

if TYPE_CHECKING:
    from huggingface_hub import CachedRepoInfo, HFCacheInfo


def is_readable() -> bool:
    """Whether huggingface_hub, which knows the layout of the cache, is installed."""
    return find_spec("huggingface_hub") is not None


def checkpoints() -> Iterator[StoredModel]:
    """The models in the hub's cache whose config.json says that they are a GPT-2; none without huggingface_hub."""
    if not is_readable() or (cache := _cache()) is None:
        return
    for repo in cache.repos:
        config = _gpt2_config(repo) if repo.repo_type == "model" else None
        if config is not None:
            dtype = config.get("dtype") or config.get("torch_dtype")
            yield StoredModel(
                name=short_name(repo.repo_id),
                kind="checkpoint",
                folder=repo.repo_path,
                size=folder_size(repo.repo_path),
                precision=dtype if isinstance(dtype, str) else None,
                last_read=last_read(_largest_file(repo.repo_path)),
            )


def remove_checkpoint(folder: Path) -> None:
    """Remove all revisions of the model in ``folder`` of the hub's cache.

    Raises:
        BusyError: it is being downloaded.
        CheckpointError: it is not in the cache, or a file cannot be removed.
    """
    cache = _cache()
    repos = [repo for repo in cache.repos if repo.repo_path == folder] if cache else []
    if cache is None or not repos:
        raise CheckpointError(f"'{folder}' is not in the hub's cache.")
    if _is_being_downloaded(folder):
        raise BusyError(f"'{repos[0].repo_id}' is being downloaded: wait until that has finished.")
    cache.delete_revisions(*(revision.commit_hash for revision in repos[0].revisions)).execute()
    if folder.exists():  # huggingface_hub only logs it
        raise CheckpointError(f"'{folder}' cannot be removed completely: remove the rest by hand.")


def _cache() -> "HFCacheInfo | None":
    require_hub()
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    with suppress(CacheNotFound, ValueError):  # there is no folder, or a file is in its place
        return scan_cache_dir()
    return None


def _gpt2_config(repo: "CachedRepoInfo") -> dict[str, object] | None:
    """The config.json of one of the revisions, if it is a GPT-2's."""
    for revision in repo.revisions:
        path = revision.snapshot_path / "config.json"
        with suppress(CheckpointError):
            config = read_json(path, CheckpointError)
            if config.get("model_type") == "gpt2":
                return config
    return None


def _largest_file(folder: Path) -> Path:
    """That with the weights; the folder itself where there are no files."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return max(files, key=os.path.getsize, default=folder)


def _is_being_downloaded(folder: Path) -> bool:
    """Whether a process holds one of the locks that huggingface_hub takes for each file."""
    from filelock import FileLock, Timeout

    for path in (folder.parent / ".locks" / folder.name).glob("*.lock"):
        try:
            with FileLock(path, timeout=0):
                pass
        except Timeout:
            return True
    return False
