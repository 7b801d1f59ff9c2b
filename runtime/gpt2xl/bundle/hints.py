"""Folders that are not bundles: what they hold, and what to do with them, for error messages."""

import re
import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from difflib import SequenceMatcher
from itertools import islice
from pathlib import Path

from gpt2xl.errors import BundleError, Gpt2xlError
from gpt2xl.files.json_values import read_json

ADAPTER_CONFIG = "adapter_config.json"  # PEFT's, as the next
ADAPTER_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
MODEL_WEIGHTS = ("model*.safetensors*", "pytorch_model*.bin*")
LIKE_ENOUGH = 0.7  # from 0 to 1, as difflib measures it: "dmo" and "demo" have 0.86
MAX_COMPARED = 1000  # characters of a name, and folders beside a path


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
    hint = f"; it is a checkpoint: run `gpt2xl export {shlex.quote(str(folder))} OUT` first"
    checkpoint = _holds(folder, "*.safetensors", *MODEL_WEIGHTS)
    return f"'{folder}' holds no ONNX file{hint if checkpoint else ''}."


def did_you_mean(name: str, known: Iterable[str] = ()) -> str:
    """How the message about an unknown ``name`` ends: with the name most like it, or with a full stop.

    Args:
        name: of a model, or the path of a folder that does not exist.
        known: names of models. Folders of models beside the path are considered, too.

    >>> did_you_mean("GPT-2-xl", ["demo", "gpt2", "gpt2-xl"]), did_you_mean("zebra", ["demo"])
    ("; did you mean 'gpt2-xl'?", '.')
    """
    found = most_alike(name, known)
    return "." if found is None else f"; did you mean '{found}'?"


def most_alike(name: str, known: Iterable[str] = ()) -> str | None:
    """The name or folder that `did_you_mean` names; None where nothing is like ``name``."""
    path = Path(name)
    likeness = {word: _likeness(name, word) for word in known}
    for folder in _model_folders(path.parent):
        likeness[str(folder)] = _likeness(path.name, folder.name)
    best = max(likeness, key=likeness.__getitem__, default="")
    return best if likeness.get(best, 0) >= LIKE_ENOUGH else None


def _likeness(one: str, other: str) -> float:
    """From 0 to 1."""
    if max(len(one), len(other)) > MAX_COMPARED:
        return 0.0
    return SequenceMatcher(None, one.casefold(), other.casefold()).ratio()


def _model_folders(parent: Path) -> Iterator[Path]:
    """The folders in ``parent`` that hold a bundle or a checkpoint."""
    with suppress(OSError, ValueError):
        for folder in islice(parent.iterdir(), MAX_COMPARED):
            if (folder / "config.json").is_file():
                yield folder


def _holds(folder: Path, *patterns: str) -> bool:
    return any(True for pattern in patterns for _ in folder.glob(pattern))
