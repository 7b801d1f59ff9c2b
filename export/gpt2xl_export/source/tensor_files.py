"""Read weight files tensor by tensor: safetensors, and PyTorch's format if torch is installed."""

import importlib.util
import os
import shlex
import warnings
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from gpt2xl.bundle.hints import is_lfs_pointer, lfs_hint
from gpt2xl.bundle.manifest import MANIFEST
from gpt2xl.errors import CheckpointError, first_line
from gpt2xl.files.json_values import read_json
from gpt2xl_export.source.tensors import Shape

FloatArray = npt.NDArray[np.float32]
DTYPES = ("F32", "F16", "BF16")
WORTH_THREADS = 1 << 20  # numbers; fewer are converted in one thread
SAFETENSORS, TORCH = "model.safetensors", "pytorch_model.bin"
SAFE_TORCH = (2, 6)  # before, a file can run code in spite of weights_only: CVE-2025-32434
WHOLE = slice(None)


@dataclass(frozen=True)
class TensorFile:
    """An open weight file; tensors are read when they are asked for, and nothing is executed."""

    path: Path
    shapes: dict[str, Shape]
    dtypes: dict[str, str]
    """In the spelling of safetensors."""
    rows: Callable[[str, slice], FloatArray]

    def read(self, name: str, rows: slice = WHOLE) -> FloatArray:
        """Read a tensor, or some of its rows, as float32.

        Raises:
            CheckpointError: its type is not float32, float16 or bfloat16.
        """
        self.check_dtype(name)
        return self.rows(name, rows)

    def check_dtype(self, name: str) -> None:
        """Raise CheckpointError if a tensor has an unsupported type."""
        if (dtype := self.dtypes[name]) not in DTYPES:
            raise CheckpointError(
                f"'{self.path}': tensor '{name}' is {dtype}; supported are {', '.join(DTYPES)}."
            )


def find_weight_files(folder: Path) -> list[Path]:
    """The weight files of a checkpoint folder; safetensors are preferred to PyTorch's.

    Raises:
        CheckpointError: there are none, or an index names a missing file.
    """
    for name in (SAFETENSORS, TORCH):
        if (folder / name).is_file():
            return [folder / name]
        if (folder / f"{name}.index.json").is_file():
            return _shards(folder / f"{name}.index.json")
    if (folder / MANIFEST).is_file():
        raise CheckpointError(
            f"'{folder}' is a bundle already, not a checkpoint: run `gpt2xl generate -m"
            f" {shlex.quote(str(folder))}`, or export the checkpoint that it was made of."
        )
    present = sorted(path.name for path in folder.iterdir())
    more = f" and {len(present) - 12} more" if len(present) > 12 else ""
    raise CheckpointError(
        f"'{folder}' holds no {SAFETENSORS}, no {TORCH}, nor the index.json of either; it holds"
        f" {', '.join(present[:12]) or 'nothing'}{more}."
    )


def _shards(index: Path) -> list[Path]:
    refuse_pointer(index)
    weight_map = read_json(index, CheckpointError).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"'{index}' has no weight_map.")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name or not (index.parent / name).is_file():
            raise CheckpointError(f"'{index}' names '{name}', which is not in the folder.")
    return [index.parent / name for name in names]


def refuse_pointer(path: Path) -> None:
    """Raise CheckpointError if ``path`` is a pointer of Git LFS instead of the file."""
    if is_lfs_pointer(path):
        raise CheckpointError(lfs_hint(path))


def open_tensor_file(path: Path) -> TensorFile:
    """Read the header of ``path``.

    Raises:
        CheckpointError: it is cut short, corrupt, a Git LFS pointer, or in PyTorch's format without
            a safe torch.
    """
    refuse_pointer(path)
    return _open_torch(path) if path.suffix == ".bin" else _open_safetensors(path)


def _open_safetensors(path: Path) -> TensorFile:
    def rows(name: str, part: slice) -> FloatArray:
        # Opened for each tensor: closing the mapping frees its pages.
        with safe_open(path, framework="numpy") as file:
            whole = part == WHOLE
            return widened(file.get_tensor(name) if whole else file.get_slice(name)[part])

    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 no dict
            dtypes = {name: piece.get_dtype() for name, piece in slices.items()}
            shapes = {name: tuple(piece.get_shape()) for name, piece in slices.items()}
    except (SafetensorError, OSError) as reason:
        raise CheckpointError(f"'{path}' is not a whole safetensors file: {reason}") from None
    return TensorFile(path, shapes, dtypes, rows)


def widened(values: npt.NDArray[Any]) -> FloatArray:
    """Convert to float32 on all cores; numpy's conversion of half precision is slow."""
    if values.dtype == np.float32 or values.size < WORTH_THREADS:
        return np.asarray(values, np.float32)
    result = np.empty(values.shape, np.float32)
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:
        parts = zip(np.array_split(result, cores), np.array_split(values, cores), strict=True)
        list(pool.map(lambda part: np.copyto(*part), parts))
    return result


def _open_torch(path: Path) -> TensorFile:
    _require_safe_torch(path)
    import torch  # noqa: TID251 the only reader of this format

    # weights_only runs no code of the file; mmap reads tensors only when they are used, which needs
    # the zip format of torch 1.6 and newer.
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about the pickle inside
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
    except Exception as reason:  # pickle, zip and torch errors alike
        said = first_line(reason)
        if "weights_only" in said:  # torch advises to run the file's code
            said = "it is damaged, or holds more than tensors, which is not loaded."
        raise CheckpointError(f"'{path}' cannot be read as PyTorch weights: {said}") from None
    tensors = _state_dict(content, path, torch.Tensor)
    names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
    plain = {name for name, tensor in tensors.items() if tensor.layout == torch.strided}
    dtypes = {
        name: names.get(tensor.dtype, str(tensor.dtype)) if name in plain else str(tensor.layout)
        for name, tensor in tensors.items()
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}

    def rows(name: str, part: slice) -> FloatArray:
        tensor = tensors[name].detach()  # parameters require gradients
        return np.array((tensor if part == WHOLE else tensor[part]).float().numpy())

    return TensorFile(path, shapes, dtypes, rows)


def _require_safe_torch(path: Path) -> None:
    convert = "or convert the checkpoint to safetensors"
    if importlib.util.find_spec("torch") is None:
        raise CheckpointError(
            f"'{path}' is PyTorch's format: `pip install torch` to read it, {convert}."
        )
    import torch  # noqa: TID251 the only reader of this format

    found = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if found < SAFE_TORCH:
        raise CheckpointError(
            f"'{path}' is not read with torch {torch.__version__}, with which a weight file can run"
            f" code (CVE-2025-32434): update torch to 2.6 or newer, {convert}."
        )


def _state_dict(content: Any, path: Path, tensor_type: type) -> Mapping[str, Any]:
    """``content``, if it maps names to tensors."""
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"'{path}' holds a {type(content).__name__}, not tensors by name: save the model with"
            " save_pretrained."
        )
    odd = [str(name) for name, value in content.items() if not isinstance(value, tensor_type)]
    odd += [repr(name) for name in content if not isinstance(name, str)]
    if odd:
        raise CheckpointError(
            f"'{path}' holds more than tensors by name ({', '.join(odd[:5])}): it is the state of a"
            " training run; save its model with save_pretrained."
        )
    return content
