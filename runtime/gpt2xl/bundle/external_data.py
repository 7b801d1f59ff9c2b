"""External data of an ONNX file: where it is and how large; locations outside the file's folder are refused.

Reads protobuf's wire format, so that the runtime needs no onnx package. Field numbers: onnx/onnx.proto.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from gpt2xl.bundle.hints import is_lfs_pointer, lfs_hint
from gpt2xl.bundle.protobuf import WireReader, packed_varints
from gpt2xl.errors import BundleError
from gpt2xl.files.reading import belongs_to, is_inside, read_bytes

# TensorProto.DataType -> numpy.
DTYPES: Mapping[int, type[np.generic]] = {
    1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 10: np.float16,
}  # fmt: skip
MAX_BYTES = 2**31 - 1  # of a protobuf
MAX_DIMS = 64
MAX_DEPTH = 100  # the limit of protobuf itself
Fields = dict[int, Any]  # field number -> the message inside, or LEAF
LEAF: Fields = {}
ENTRY: Fields = {1: LEAF, 2: LEAF}  # StringStringEntryProto: key, value
TENSOR: Fields = {13: ENTRY}
GRAPH: Fields = {5: TENSOR, 15: {1: TENSOR, 2: TENSOR}}
NODE: Fields = {5: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: {1: TENSOR, 2: TENSOR}}}
GRAPH[1] = NODE
MODEL: Fields = {7: GRAPH, 25: {7: NODE}}


@dataclass(frozen=True)
class StoredTensor:
    """An initializer of the main graph whose data is in another file."""

    name: str
    data_type: int
    """A number of TensorProto.DataType."""
    dims: tuple[int, ...]
    location: str
    """A path, from the graph's folder."""
    offset: int
    length: int
    """Bytes; 0 where the graph does not say."""

    @property
    def dtype(self) -> type[np.generic] | None:
        """Its numpy type; None for types that our exports do not use."""
        return DTYPES.get(self.data_type)

    @property
    def nbytes(self) -> int | None:
        """Bytes that its shape implies; None where its type is unknown."""
        return prod(self.dims) * np.dtype(self.dtype).itemsize if self.dtype else None


def check_external_data(path: Path) -> None:
    """Refuse an ONNX file whose external data is missing, damaged or outside its folder.

    Raises:
        BundleError: the file is cut short, a location leaves its folder (a link may lead to the blobs of the
            hub's cache), or the size of a tensor differs from that of its data.
    """
    content = read_bytes(path, BundleError, MAX_BYTES)
    try:
        locations = set(external_locations(content))
        tensors = list(stored_tensors(content))
    except (IndexError, ValueError):
        if is_lfs_pointer(path):
            raise BundleError(lfs_hint(path)) from None
        raise BundleError(f"'{path}' is cut short or not an ONNX file: export it again.") from None
    for location in locations:
        file = path.parent / location
        if not is_inside(location) or not belongs_to(file, path.parent):
            raise BundleError(
                f"'{path}' wants weights from '{location}', outside its folder: refused."
            )
        if not os.path.isfile(file):
            raise BundleError(f"'{file}' is missing: '{path.name}' has its weights there.")
        if is_lfs_pointer(file):
            raise BundleError(lfs_hint(file))
    for tensor in tensors:
        if tensor.length and tensor.nbytes not in (None, tensor.length):
            raise BundleError(
                f"'{path}': the tensor '{tensor.name}' of {list(tensor.dims)} has {tensor.length} bytes of data:"
                " the file is damaged, export it again."
            )


def external_locations(model: bytes) -> Iterator[str]:
    """The location of every externally stored tensor of a serialized ModelProto, nested graphs included.

    Raises:
        IndexError, ValueError: not a whole ModelProto, or with more fields or nesting than any model has.
    """
    entries = _entries(WireReader(), memoryview(model), MODEL)
    return (value for key, value in entries if key == "location")


def _entries(
    reader: WireReader, message: memoryview, known: Fields, depth: int = 0
) -> Iterator[tuple[str, str]]:
    """Key and value of every external_data entry in ``message``, tensor by tensor."""
    if depth > MAX_DEPTH:
        raise ValueError("nested too deep")
    if known is ENTRY:
        content = {number: bytes(value).decode() for number, value in reader.messages(message)}
        yield content.get(1, ""), content.get(2, "")
        return
    for number, value in reader.messages(message):
        if number in known:
            yield from _entries(reader, value, known[number], depth + 1)


def stored_tensors(model: bytes) -> Iterator[StoredTensor]:
    """The externally stored initializers of the main graph of a serialized ModelProto.

    Raises:
        IndexError, ValueError: as of `external_locations`.
    """
    reader = WireReader()
    for number, graph in reader.messages(memoryview(model)):
        if number == 7:
            tensors = (content for number, content in reader.messages(graph) if number == 5)
            yield from filter(None, (_stored_tensor(reader, tensor) for tensor in tensors))


def _stored_tensor(reader: WireReader, message: memoryview) -> StoredTensor | None:
    name, data_type, dims, entries = "", 0, list[int](), dict[str, str]()
    for number, value in reader.fields(message):
        match number, value:
            case 1, int() if len(dims) < MAX_DIMS:
                dims.append(value)
            case 1, memoryview() if len(value) < MAX_DIMS:
                dims += packed_varints(value)
            case 1, _:
                raise ValueError("too many dimensions")
            case 2, int():
                data_type = value
            case 8, memoryview():
                name = bytes(value).decode()
            case 13, memoryview():
                entries |= dict(_entries(reader, value, ENTRY))
    if "location" not in entries:
        return None
    offset, length = (int(entries.get(key, "0")) for key in ("offset", "length"))
    return StoredTensor(name, data_type, tuple(dims), entries["location"], offset, length)
