"""Where bundles are: gpt2xl's cache, and the folders elsewhere that `gpt2xl export` has written.

It imports nothing large, so that a shell completes names at once.
"""

import json
import os
from contextlib import suppress
from pathlib import Path

HUB_PRECISION = "int8"  # of bundles in the cache: nearly exact, a quarter of the size
DEMO = "demo"  # that of gpt2xl.bundle.demo, whose package takes a moment to import
REGISTRY = "exports.json"
"""A file in the cache: a list of folders."""
CONFIGS = "snapshots/*/config.json"
"""In the hub's cache, of one model."""


def cache_folder() -> Path:
    """The folder that GPT2XL_CACHE names, else gpt2xl's folder in the user's cache.

    Raises:
        ExportError: platformdirs, of the extras ``cli`` and ``export``, is not installed.
    """
    if named := os.environ.get("GPT2XL_CACHE"):
        return Path(named)
    try:
        import platformdirs
    except ModuleNotFoundError:
        from gpt2xl.errors import ExportError

        raise ExportError(
            "exporting needs `pip install 'gpt2xl[export]'` (platformdirs is not installed)."
        ) from None
    return platformdirs.user_cache_path("gpt2xl")


def bundle_folder(name: str, version: str) -> Path:
    """Where the cache has the bundle of a model on the hub; it need not exist."""
    return cache_folder() / f"{name.replace('/', '--')}-{HUB_PRECISION}-{version}"


def bundle_names() -> list[str]:
    """The names of the models on the hub whose bundles are in the cache, of any version of gpt2xl."""
    return sorted(
        {name for folder in folders_in(cache_folder()) if (name := name_in_cache(folder))}
    )


def name_in_cache(folder: Path) -> str | None:
    """The model whose bundle `bundle_folder` puts into ``folder``; None where it is no such folder."""
    name, middle, _ = folder.name.partition(f"-{HUB_PRECISION}-")
    return name.replace("--", "/") if middle and name != DEMO else None


def checkpoint_names() -> list[str]:
    """The models in the hub's cache that are a GPT-2; none where huggingface_hub is not installed."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return []
    return [
        repo.name.removeprefix("models--").replace("--", "/")
        for repo in folders_in(Path(constants.HF_HUB_CACHE))
        if repo.name.startswith("models--") and any(map(_is_gpt2, repo.glob(CONFIGS)))
    ]


def _is_gpt2(config: Path) -> bool:
    with suppress(OSError, ValueError, AttributeError, RecursionError):
        return bool(json.loads(config.read_text("utf-8")).get("model_type") == "gpt2")
    return False


def folders_in(place: Path) -> list[Path]:
    """The folders in ``place``, without hidden ones; none where it cannot be read."""
    try:
        return sorted(path for path in place.iterdir() if path.name[0] != "." and path.is_dir())
    except OSError:
        return []


def remembered_exports() -> list[Path]:
    """The folders that `gpt2xl export` has written, as far as they are still there."""
    return [folder for folder in read_registry() if (folder / "gpt2xl.json").is_file()]


def read_registry() -> list[Path]:
    """The folders in the registry; none where it cannot be read."""
    with suppress(OSError, ValueError, RecursionError):
        content = json.loads((cache_folder() / REGISTRY).read_text("utf-8"))
        if isinstance(content, list):
            return [Path(folder) for folder in content if isinstance(folder, str)]
    return []
