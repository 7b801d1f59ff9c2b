"""The external-data file that all graphs of a bundle share, written tensor by tensor."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

PAGE = 4096  # what mmap wants of tensors worth mapping
WORD = 64  # enough for the small ones


class WeightsFile:
    """Appends tensors to one file; each name is written once, whichever graph asks first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb")
        self._digest = hashlib.sha256()
        self._tensors: dict[str, ir.ExternalTensor] = {}
        self.groups: set[str] = set()
        """Checkpoint tensors that a pass has stored in a format of its own."""

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def __getitem__(self, name: str) -> ir.ExternalTensor:
        return self._tensors[name]

    def add(
        self, name: str, values: ir.TensorProtocol | npt.NDArray[np.generic]
    ) -> ir.ExternalTensor:
        """Write ``values`` unless ``name`` is written already; the tensor that stands for them."""
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
        """Of what has been written so far."""
        return self._digest.hexdigest()

    def _append(self, name: str, tensor: ir.TensorProtocol) -> ir.ExternalTensor:
        data = tensor.tobytes()
        self._write(b"\0" * (-self._file.tell() % (PAGE if len(data) >= PAGE else WORD)))
        offset = self._file.tell()
        self._write(data)
        self._file.flush()  # passes read what others wrote
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
    """Move every lazy initializer of ``models`` into ``weights``; the small constants stay inline."""
    for model in models:
        for value in model.graph.initializers.values():
            if isinstance(value.const_value, ir.LazyTensor):
                assert value.name is not None
                value.const_value = weights.add(value.name, value.const_value)
