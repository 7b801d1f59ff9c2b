"""External weights in memory mappings of our own, so that we can release pages which onnxruntime has read.

onnxruntime copies most weights into the layout of its kernels while it loads. The pages that it has read would
stay resident: for GPT-2 XL in int4 that is 180 MB of scales and embedding, held twice. Each embedding row that a
prompt reads brings in neighbouring pages, 80 MB for 900 ids. Pages of a mapped file that nobody writes to may be
released at any time, from any thread: the system reads them again when they are needed. Each session has
mappings of its own, which live as long as it does, so no other memory is touched.
"""

import mmap
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from math import prod
from pathlib import Path
from threading import Event, Thread

import numpy as np
import onnxruntime as ort

from gpt2xl.bundle.external_data import StoredTensor, stored_tensors
from gpt2xl.startup.memory import address_space_left

ALIGNMENT_BYTES = 64  # vector instructions may need it at the start of a tensor
RELEASE_SECONDS = 0.02
"""Time between releases while loading: onnxruntime reads some 30 MB of GPT-2 XL in int8 meanwhile."""


class MappedWeights:
    """The external tensors of one ONNX file, as onnxruntime values over mappings of their files.

    They have to outlive every session made with `lend`.

    Args:
        folder: where the ONNX file is.
        tensors: of the file, checked by `check_external_data`.

    Raises:
        OSError: a file cannot be mapped.
    """

    def __init__(self, folder: Path, tensors: Sequence[StoredTensor]) -> None:
        names = {tensor.location for tensor in tensors}
        self._maps = {name: _mapping(folder / name) for name in names}
        self.tensors: dict[str, ort.OrtValue] = {}
        """The mapped tensors, by name."""
        for name, mapping in self._maps.items():
            _keep_apart(mapping, [tensor for tensor in tensors if tensor.location == name])
        for tensor in tensors:
            value = _value(tensor, self._maps[tensor.location])
            if value is not None:
                self.tensors[tensor.name] = value

    @property
    def size(self) -> int:
        """Bytes of the mapped files."""
        return sum(map(len, self._maps.values()))

    def lend(self, options: ort.SessionOptions) -> None:
        """Make a session with ``options`` read these tensors from our mappings."""
        for name, value in self.tensors.items():
            options.add_initializer(name, value)

    def release(self) -> None:
        """Release all resident pages; other threads may be reading them."""
        for mapping in self._maps.values():
            with suppress(OSError):  # some sandboxes forbid madvise
                mapping.madvise(mmap.MADV_DONTNEED)

    @contextmanager
    def releasing(self) -> Iterator[None]:
        """Release every RELEASE_SECONDS during the block, which loads a session, and at its end."""
        done = Event()

        def repeat() -> None:
            while not done.wait(RELEASE_SECONDS):
                self.release()

        thread = Thread(target=repeat, name="gpt2xl-release", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.release()


def map_weights(graph: Path) -> MappedWeights | None:
    """The weights of ``graph``; None where the system cannot release pages, or address space is scarce."""
    if sys.platform != "linux":  # MADV_DONTNEED is absent there, or only a hint
        return None
    try:
        tensors = list(stored_tensors(graph.read_bytes()))
        files = {graph.parent / tensor.location for tensor in tensors}
        size, space = sum(path.stat().st_size for path in files), address_space_left()
        # The mappings stay while onnxruntime copies nearly all of their content.
        scarce = space is not None and space < 2.5 * size
        return None if scarce else MappedWeights(graph.parent, tensors)
    except (
        IndexError,
        OSError,
        ValueError,
    ):  # an unusual graph or file, which is left to onnxruntime
        return None


def _mapping(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _keep_apart(mapping: mmap.mmap, tensors: Sequence[StoredTensor]) -> None:
    """Make each large tensor a mapping of its own for the kernel.

    When a page is read, the kernel also maps cached pages around it, up to the end of the mapping: for each bias, 2 MB
    of a neighbouring weight. Different advice splits a mapping in two; this advice has no other effect, because
    mapped files are not dumped.
    """
    large = [t for t in tensors if t.offset % mmap.PAGESIZE == 0 and t.length >= mmap.PAGESIZE]
    ends = {-(-(t.offset + t.length) // mmap.PAGESIZE) * mmap.PAGESIZE for t in large}
    bounds = sorted({*ends, *(t.offset for t in large)})
    bounds = [bound for bound in bounds if bound < len(mapping)] + [len(mapping)]
    for start, end in zip(bounds[:-1:2], bounds[1::2], strict=False):
        mapping.madvise(mmap.MADV_DONTDUMP, start, end - start)


def _value(tensor: StoredTensor, mapping: mmap.mmap) -> ort.OrtValue | None:
    """``tensor`` over ``mapping``; None where onnxruntime has to load it, or to refuse it."""
    aligned = tensor.offset % ALIGNMENT_BYTES == 0
    inside = 0 < tensor.length <= len(mapping) - tensor.offset
    if tensor.dtype is None or not aligned or not inside or tensor.nbytes != tensor.length:
        return None
    flat = np.frombuffer(mapping, tensor.dtype, prod(tensor.dims), tensor.offset)
    return ort.OrtValue.ortvalue_from_numpy(flat.reshape(tensor.dims))
