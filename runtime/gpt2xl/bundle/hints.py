"""Folders that are not bundles: what they hold, and what to do with them, for error messages."""

import re
import shlex
from pathlib import Path

from gpt2xl.errors import BundleError, Gpt2xlError
from gpt2xl.files.json_values import read_json

ADAPTER_CONFIG = "adapter_config.json"  # PEFT's, as the next
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
MODEL_WEIGHTS = ("model*.safetensors*", "pytorch_model*.bin*")


def is_lfs_pointer(path: Path) -> bool:
    """Whether ``path`` is a Git LFS pointer instead of the file itself."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(LFS_POINTER)) == LFS_POINTER


def lfs_hint(path: Path) -> str:
    """The error message for a Git LFS pointer."""
    return f"'{path}' is a Git LFS pointer, not the file itself: run `git lfs pull` in its folder."


def is_adapter(folder: Path) -> bool:
    """Whether ``folder`` holds a PEFT adapter without the weights of a whole model."""
    return (folder / ADAPTER_CONFIG).is_file() and not _holds(folder, *MODEL_WEIGHTS)


def adapter_hint(folder: Path, error: type[Gpt2xlError]) -> str:
    """The error message for an adapter in ``folder``.

    Raises:
        error: its config is not a JSON object.
    """
    if is_lfs_pointer(folder / ADAPTER_CONFIG):
        return lfs_hint(folder / ADAPTER_CONFIG)
    named = read_json(folder / ADAPTER_CONFIG, error).get("base_model_name_or_path")
    plain = isinstance(named, str) and re.fullmatch(r"[\w./-]{1,200}", named, re.ASCII)
    base, of = (named, f" for the model {named}") if plain else ("BASE", "")
    return (
        f"'{folder}' is an adapter{of}, not a model: run `gpt2xl export {base} OUT --adapter"
        f" {shlex.quote(str(folder))}`."
    )


def no_bundle(folder: Path) -> str:
    """The error message for a ``folder`` without a graph."""
    if is_adapter(folder):
        return adapter_hint(folder, BundleError)
    hint = "; it is a checkpoint: run `gpt2xl export` on it first"
    checkpoint = _holds(folder, "*.safetensors", *MODEL_WEIGHTS)
    return f"'{folder}' holds no ONNX file{hint if checkpoint else ''}."


def _holds(folder: Path, *patterns: str) -> bool:
    return any(True for pattern in patterns for _ in folder.glob(pattern))
