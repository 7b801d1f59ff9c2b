"""Open a Hugging Face GPT-2 folder; tensors are read one at a time, as float32."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt2xl.config import GPT2Config, read_config, read_json
from gpt2xl.errors import CheckpointError
from gpt2xl_export.tensor_files import FloatArray, find_weight_files, open_tensor_file
from gpt2xl_export.tensors import match_tensors


@dataclass(frozen=True)
class Checkpoint:
    """A checked checkpoint: every tensor is there, once, in the shape the config asks for."""

    folder: Path
    config: GPT2Config
    load: Callable[[str], FloatArray]
    """Our tensor name (`h.0.attn.c_attn.weight`) -> its values."""
    tensor_names: tuple[str, ...]
    """In file order."""
    weight_files: tuple[Path, ...]
    int4_rounding: Any = None
    """What config.json says the weights were trained for, {"method": "nearest", "block_size": 64}."""

    def sha256(self) -> dict[str, str]:
        """Hash of each weight file, by file name."""
        return {path.name: file_sha256(path) for path in self.weight_files}


def open_checkpoint(folder: Path) -> Checkpoint:
    """Open ``folder``, reading headers only.

    Raises:
        CheckpointError: not a folder, not a GPT-2, no or broken safetensors, or tensors that do
            not fit the config.
    """
    if not folder.is_dir():
        raise CheckpointError(f"'{folder}' is not a folder.")
    config = read_config(folder, CheckpointError)
    files = [open_tensor_file(path) for path in find_weight_files(folder)]
    found = {name: (file, shape) for file in files for name, shape in file.shapes.items()}
    if config.n_layer > len(found):  # before a typo costs hours of naming tensors
        raise CheckpointError(
            f"'{folder}': the config asks for {config.n_layer} layers, the weights are {len(found)} tensors."
        )
    try:
        names = match_tensors({name: shape for name, (_, shape) in found.items()}, config)
    except CheckpointError as reason:
        raise CheckpointError(f"'{folder}': {reason}") from None

    def load(name: str) -> FloatArray:
        file, _ = found[names[name]]
        return file.read(names[name])

    paths = tuple(file.path for file in files)
    rounding = read_json(folder / "config.json", CheckpointError).get("int4_rounding")
    return Checkpoint(folder, config, load, tuple(names), paths, rounding)


def file_sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
