"""The external-data file that all graphs of a bundle share, written tensor by tensor."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from gpt2xl.startup.mapped_weights import ALIGNMENT_BYTES

PAGE = 4096  # alignment in bytes of tensors of a page and more: they can be mapped; smaller ones: ALIGNMENT_BYTES


@dataclass(frozen=True)
class WeightError:
    """What storing a weight in another format changed."""

    method: str
    """The format, such as "int4, blocks of 64"."""
    max_abs_error: float
    relative_error: float
    """Frobenius norm of the error, divided by that of the weight."""


class WeightsFile:
    """Appends tensors to one new file; each name is written once, whichever graph asks first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self._tensors: dict[str, ir.ExternalTensor] = {}
        self.errors: dict[str, WeightError] = {}
        """By weight of the checkpoint, for those that are not stored as they are."""

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> ir.ExternalTensor:
        return self._tensors[name]

    def add(
        self, name: str, values: ir.TensorProtocol | npt.NDArray[np.generic]
    ) -> ir.ExternalTensor:
        """Write ``values``, unless ``name`` is there already; return the tensor in the file."""
        if name not in self._tensors:
            tensor = values if isinstance(values, ir.TensorProtocol) else ir.tensor(values)
            self._tensors[name] = self._append(name, tensor)
        return self._tensors[name]

    def __enter__(self) -> "WeightsFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def sha256(self) -> str:
        """The hash of what has been written so far, in hex."""
        return self._digest.hexdigest()

    def _append(self, name: str, tensor: ir.TensorProtocol) -> ir.ExternalTensor:
        data = tensor.tobytes()
        self._write(b"\0" * (-self._file.tell() % (PAGE if len(data) >= PAGE else ALIGNMENT_BYTES)))
        offset = self._file.tell()
        self._write(data)
        self._file.flush()  # passes read tensors back
        return ir.ExternalTensor(
            self.path.name,
            offset,
            len(data),
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=name,
            base_dir=self.path.parent,
        )

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)


def externalize(models: Iterable[ir.Model], weights: WeightsFile) -> None:
    """Move every lazy initializer of ``models`` into ``weights``; small constants stay inline."""
    for model in models:
        for value in model.graph.initializers.values():
            if isinstance(value.const_value, ir.LazyTensor):
                assert value.name is not None
                value.const_value = weights.add(value.name, value.const_value)
