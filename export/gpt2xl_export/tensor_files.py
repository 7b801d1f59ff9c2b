"""Weight files: safetensors, and PyTorch's own where torch is installed. Read tensor by tensor."""

import importlib.util
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from gpt2xl.config import read_json
from gpt2xl.errors import CheckpointError
from gpt2xl_export.tensors import MASK_BUFFERS, Shape

FloatArray = npt.NDArray[np.float32]
DTYPES = ("F32", "F16", "BF16")
WORTH_THREADS = 1 << 20  # numbers to convert
SAFETENSORS, TORCH = "model.safetensors", "pytorch_model.bin"


@dataclass(frozen=True)
class TensorFile:
    """One file; nothing in it is read until asked for, and nothing in it is executed."""

    path: Path
    shapes: dict[str, Shape]
    read: Callable[[str], FloatArray]


def find_weight_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint folder; safetensors before PyTorch's.

    Raises:
        CheckpointError: none, or an index that names a file which is not there.
    """
    for name in (SAFETENSORS, TORCH):
        if (folder / name).is_file():
            return [folder / name]
        if (folder / f"{name}.index.json").is_file():
            return _shards(folder / f"{name}.index.json")
    present = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
    raise CheckpointError(
        f"'{folder}' holds no {SAFETENSORS} or {SAFETENSORS}.index.json; it holds {present}."
    )


def _shards(index: Path) -> list[Path]:
    weight_map = read_json(index, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"'{index}' has no weight_map.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise CheckpointError(f"'{index}' names '{name}', which is not in the folder.")
    return [index.parent / name for name in names]


def open_tensor_file(path: Path) -> TensorFile:
    """Read the header of ``path``.

    Raises:
        CheckpointError: cut short, corrupt, of another type, or PyTorch's without torch.
    """
    return _open_torch(path) if path.suffix == ".bin" else _open_safetensors(path)


def _open_safetensors(path: Path) -> TensorFile:
    def read(name: str) -> FloatArray:
        # Opened anew for each tensor: a closed mapping gives its pages back.
        with safe_open(path, framework="numpy") as file:
            return widened(file.get_tensor(name))

    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 no dict
            for name, piece in slices.items():
                _check_dtype(path, name, piece.get_dtype())
            shapes = {name: tuple(piece.get_shape()) for name, piece in slices.items()}
    except (SafetensorError, OSError) as reason:
        raise CheckpointError(f"'{path}' is not a whole safetensors file: {reason}") from None
    return TensorFile(path, shapes, read)


def widened(values: npt.NDArray[Any]) -> FloatArray:
    """``values`` in float32, by all cores: numpy turns half precision into it one number at a time."""
    if values.dtype == np.float32 or values.size < WORTH_THREADS:
        return np.asarray(values, np.float32)
    result = np.empty(values.shape, np.float32)
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        parts = zip(np.array_split(result, cores), np.array_split(values, cores), strict=True)
        list(pool.map(lambda part: np.copyto(*part), parts))
    return result


def _open_torch(path: Path) -> TensorFile:
    if importlib.util.find_spec("torch") is None:
        raise CheckpointError(
            f"'{path}' is PyTorch's format: `pip install torch` to read it, or convert the checkpoint"
            " to safetensors."
        )
    import torch  # noqa: TID251 the only reader of this format

    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    try:
        # weights_only: no code of the file runs; mmap: no tensor is read before it is asked for.
        tensors: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    except Exception as reason:  # pickle, zip and torch errors alike
        first_line = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
        raise CheckpointError(f"'{path}' cannot be read as PyTorch weights: {first_line}") from None
    for name, tensor in tensors.items():
        _check_dtype(path, name, names.get(tensor.dtype, str(tensor.dtype)))

    def read(name: str) -> FloatArray:
        return np.array(tensors[name].float().numpy())

    return TensorFile(path, shapes, read)


def _check_dtype(path: Path, name: str, dtype: str) -> None:
    if dtype not in DTYPES and not name.endswith(MASK_BUFFERS):
        raise CheckpointError(
            f"'{path}': tensor '{name}' is {dtype}; supported are {', '.join(DTYPES)}."
        )
