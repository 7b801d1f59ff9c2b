"""Where an ONNX file says its weights are: refused when that is outside its own folder.

onnxruntime before 1.24 follows any path. Reads protobuf's wire format as far as needed for that, so
that the runtime does without the onnx package. Field numbers: onnx/onnx.proto.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpt2xl.errors import BundleError

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
    """Bytes; 0 where the graph does not tell."""


def check_external_data(path: Path) -> None:
    """Look at the external-data locations of ``path``.

    Raises:
        BundleError: the file is not whole, or a location leaves its folder.
    """
    folder = path.parent.resolve()
    try:
        locations = set(external_locations(path.read_bytes()))
    except (IndexError, ValueError):
        raise BundleError(f"'{path}' is not a whole ONNX file: export it again.") from None
    except OSError as reason:
        raise BundleError(f"'{path}' cannot be read: {reason.strerror}.") from None
    for location in locations:
        if "\0" in location or not (folder / location).resolve().is_relative_to(folder):
            raise BundleError(
                f"'{path}' wants weights from '{location}', outside its folder: refused."
            )
        if not (folder / location).is_file():
            raise BundleError(
                f"'{folder / location}' is missing: '{path.name}' has its weights there."
            )


def external_locations(model: bytes) -> Iterator[str]:
    """The `location` of every externally stored tensor of a serialized ModelProto."""
    return (value for key, value in external_entries(model) if key == "location")


def external_entries(model: bytes) -> Iterator[tuple[str, str]]:
    """Key and value of every external_data entry of a serialized ModelProto, tensor by tensor."""
    return _entries(memoryview(model), MODEL)


def stored_tensors(model: bytes) -> Iterator[StoredTensor]:
    """The externally stored initializers of a serialized ModelProto.

    Raises:
        IndexError, ValueError: it is not whole.
    """
    for number, graph in _fields(memoryview(model)):
        if number == 7:
            tensors = (content for number, content in _fields(graph) if number == 5)
            yield from filter(None, map(_stored_tensor, tensors))


def _stored_tensor(message: memoryview) -> StoredTensor | None:
    name, data_type, dims, entries = "", 0, list[int](), dict[str, str]()
    for number, value in _all_fields(message):
        match number, value:
            case 1, int():
                dims.append(value)
            case 1, memoryview():
                dims += _packed(value)
            case 2, int():
                data_type = value
            case 8, memoryview():
                name = bytes(value).decode()
            case 13, memoryview():
                entries |= dict(_entries(value, ENTRY))
    if "location" not in entries:
        return None
    offset, length = (int(entries.get(key, "0")) for key in ("offset", "length"))
    return StoredTensor(name, data_type, tuple(dims), entries["location"], offset, length)


def _packed(message: memoryview) -> Iterator[int]:
    at = 0
    while at < len(message):
        value, at = _varint(message, at)
        yield value


def _entries(message: memoryview, known: Fields) -> Iterator[tuple[str, str]]:
    if known is ENTRY:
        content = {number: bytes(value).decode() for number, value in _fields(message)}
        yield content.get(1, ""), content.get(2, "")
        return
    for number, value in _fields(message):
        if number in known:
            yield from _entries(value, known[number])


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(number, content) of the length-delimited fields."""
    for number, value in _all_fields(message):
        if isinstance(value, memoryview):
            yield number, value


def _all_fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """As `_fields`, and (number, value) of the varints."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if not number:
            raise ValueError("field 0")
        if kind == 0:
            value, at = _varint(message, at)
            yield number, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            if kind != 2:
                raise ValueError(f"wire type {kind}")
            size, at = _varint(message, at)
        if at + size > len(message):
            raise ValueError("cut short")
        if kind == 2:
            yield number, message[at : at + size]
        at += size


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """(value, where it ends)."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
