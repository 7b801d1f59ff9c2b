"""Open a Hugging Face GPT-2 folder; tensors are read one at a time, as float32."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from gpt2xl.config import GPT2Config, read_config, read_json
from gpt2xl.errors import CheckpointError
from gpt2xl_export.tensors import MASK_BUFFERS, Shape, match_tensors

FloatArray = npt.NDArray[np.float32]
DTYPES = ("F32", "F16", "BF16")
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


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
    files = _weight_files(folder)
    found = {name: (path, shape) for path in files for name, shape in _header(path).items()}
    if config.n_layer > len(found):  # before a typo costs hours of naming tensors
        raise CheckpointError(
            f"'{folder}': the config asks for {config.n_layer} layers, the weights are {len(found)} tensors."
        )
    try:
        names = match_tensors({name: shape for name, (_, shape) in found.items()}, config)
    except CheckpointError as reason:
        raise CheckpointError(f"'{folder}': {reason}") from None

    def load(name: str) -> FloatArray:
        path, _ = found[names[name]]
        # Opened anew for each tensor: a closed mapping gives its pages back.
        with safe_open(path, framework="numpy") as file:
            return np.asarray(file.get_tensor(names[name]), dtype=np.float32)

    return Checkpoint(folder, config, load, tuple(names), tuple(files))


def _weight_files(folder: Path) -> list[Path]:
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    if not (folder / INDEX).is_file():
        present = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
        raise CheckpointError(f"'{folder}' holds no {SINGLE} or {INDEX}; it holds {present}.")
    weight_map = read_json(folder / INDEX, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"'{folder / INDEX}' has no weight_map.")
    shards = sorted({str(name) for name in weight_map.values()})
    for name in shards:
        if Path(name).name != name or not (folder / name).is_file():
            raise CheckpointError(f"'{folder / INDEX}' names '{name}', which is not in the folder.")
    return [folder / name for name in shards]


def _header(path: Path) -> dict[str, Shape]:
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 no dict
            for name, piece in slices.items():
                if piece.get_dtype() not in DTYPES and not name.endswith(MASK_BUFFERS):
                    raise CheckpointError(
                        f"'{path}': tensor '{name}' is {piece.get_dtype()}; supported are {', '.join(DTYPES)}."
                    )
            return {name: tuple(piece.get_shape()) for name, piece in slices.items()}
    except (SafetensorError, OSError) as reason:
        raise CheckpointError(f"'{path}' is not a whole safetensors file: {reason}") from None


def file_sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
