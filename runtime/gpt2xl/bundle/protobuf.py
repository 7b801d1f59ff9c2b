"""The part of protobuf's wire format that ONNX files use (protobuf.dev, "Encoding")."""

from collections.abc import Iterator

MAX_FIELDS = 1 << 20  # about a second of reading; GPT-2 XL has some 20,000
VARINT_BYTES = 10


class WireReader:
    """Reads the messages of one file, at most MAX_FIELDS fields, so that a crafted file takes no longer than a model.

    Its methods raise IndexError or ValueError where a message is cut short or a file has too many fields.
    """

    def __init__(self) -> None:
        self._fields_left = MAX_FIELDS

    def messages(self, message: memoryview) -> Iterator[tuple[int, memoryview]]:
        """(number, content) of the length-delimited fields: messages, strings, packed numbers."""
        for number, value in self.fields(message):
            if isinstance(value, memoryview):
                yield number, value

    def fields(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        """(number, content) of the fields that `messages` gives, and (number, value) of varints."""
        at = 0
        while at < len(message):
            self._fields_left -= 1
            if not self._fields_left:
                raise ValueError("too many fields")
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


def packed_varints(message: memoryview) -> Iterator[int]:
    """The numbers of a packed field."""
    at = 0
    while at < len(message):
        value, at = _varint(message, at)
        yield value


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """The value that starts at ``at``, and the offset of its end."""
    value = 0
    for index in range(VARINT_BYTES):
        byte = message[at + index]
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("a number of more than 64 bits")
