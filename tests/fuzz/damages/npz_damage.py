"""Damages of zips of arrays, as prompt caches are."""

import io
import zipfile
import zlib
from random import Random

from tests.fuzz.damages import json_damage
from tests.fuzz.damages.damage import BYTES, Damaged

Entries = dict[str, bytes]
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
SHAPES = (
    "()",
    "(0,)",
    "(-1,)",
    f"({2**40},)",
    f"({2**70},)",
    "(1, 1)",
    "(2, 2, 1, 8)",
    "'x'",
    "(1.5,)",
    "(True,)",
    "None",
)
TYPES = (
    "'<f4'",
    "'>f4'",
    "'|O'",
    "'<f2'",
    "'|u1'",
    "'<U9'",
    "'|V0'",
    "'no'",
    "[('a', '<f4')]",
    "[]",
    "5",
    "'<M8[s]'",
    "'|S0'",
)
LITERALS = (
    "",
    "{}",
    "(" * 500,
    "[" * 9000,
    "1",
    "{'a'",
    "\0",
    "lambda: 1",
    "{**{}}",
    "9" * 9000,
    "{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}",
)


def _read(content: bytes) -> Entries:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(entries: Entries, method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return file.getvalue()


def _array(descr: str, shape: str, data: bytes, order: str = "False") -> bytes:
    return _npy(f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}", data)


def _npy(text: str, data: bytes) -> bytes:
    head = text.encode("latin-1")
    return b"\x93NUMPY\x02\x00" + len(head).to_bytes(4, "little") + head + data


def about(rng: Random, content: bytes) -> Damaged:
    """The JSON in it."""
    entries = _read(content)
    start = entries["about.npy"].index(b'{"')
    new, what, *_ = rng.choice(json_damage.JSON)(rng, entries["about.npy"][start:])
    entries["about.npy"] = _array("'|u1'", f"({len(new)},)", new)
    return Damaged(_write(entries), f"about: {what}")


def array(rng: Random, content: bytes) -> Damaged:
    """A header that does not fit the data."""
    entries = _read(content)
    name = rng.choice(sorted(entries))
    data = entries[name][128:]
    if rng.random() < 0.3:
        text = rng.choice(LITERALS)
        entries[name] = _npy(text, data)
    else:
        text = f"{rng.choice(TYPES)} {(shape := rng.choice(SHAPES))}"
        entries[name] = _array(text.split(" ")[0], shape, data, rng.choice(("False", "True", "2")))
    return Damaged(_write(entries), f"{name}: {text[:60]}")


def values(rng: Random, content: bytes) -> Damaged:
    entries = _read(content)
    old = entries["keys_and_values.npy"]
    run = rng.choice((b"\x00\x00\xc0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\x7f\x7f", bytes(4)))
    count = (len(old) - 128) // 4
    entries["keys_and_values.npy"] = old[:128] + run * count
    return Damaged(
        _write(entries), f"all numbers {run.hex()}", fatal=run[:2] == b"\0\0" and run != bytes(4)
    )


def names(rng: Random, content: bytes) -> Damaged:
    entries = _read(content)
    name = rng.choice(sorted(entries))
    new = rng.choice(
        ("x.npy", "../about.npy", "about", "about.npy/", "a" * 60_000, "x\x1b[31m.npy")
    )
    entries[new] = entries.pop(name) if rng.random() < 0.7 else b""
    return Damaged(_write(entries), f"{name} as {new[:20]!r}")


def many(rng: Random, content: bytes) -> Damaged:
    count = rng.choice((100, 5000))
    entries = _read(content) | {f"{number}.npy": b"" for number in range(count)}
    return Damaged(_write(entries), f"{count} entries more")


def packed(rng: Random, content: bytes) -> Damaged:
    """The same content, compressed."""
    method = rng.choice(METHODS)
    return Damaged(_write(_read(content), method), f"method {method}", method == zipfile.ZIP_STORED)


def method_byte(rng: Random, content: bytes) -> Damaged:
    """A compression method, flag or size in both headers that does not fit the data."""
    changed = bytearray(content)
    central = content.index(b"PK\x01\x02")
    offset, value = rng.choice(
        ((8, 14), (8, 99), (8, 8), (8, 12), (6, 1), (22, 255), (18, 255), (14, 1))
    )
    changed[offset] = changed[central + offset + 2] = value
    return Damaged(bytes(changed), f"byte {offset} of the headers {value}")


def bomb(rng: Random, content: bytes) -> Damaged:
    """Gigabytes of zeros in some megabytes; the sum is wrong, as no reader should get that far."""
    size, piece = 4 << 30, 1 << 26
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = _array("'<f4'", f"(2, 2, {size // 128}, 8)", b"")
    first = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    zeros = packer.compress(bytes(piece)) + packer.flush(zlib.Z_FULL_FLUSH)
    body = first + zeros * (size // piece) + packer.flush()
    entries = _read(content)
    entries["keys_and_values.npy"] = body
    changed = bytearray(_write(entries))
    at = changed.index(b"keys_and_values.npy") - 30
    central = changed.rindex(b"PK\x01\x02", 0, changed.rindex(b"keys_and_values.npy"))
    whole = min(len(head) + size, 2**32 - 2).to_bytes(4, "little")
    changed[at + 8], changed[central + 10] = zipfile.ZIP_DEFLATED, zipfile.ZIP_DEFLATED
    changed[at + 22 : at + 26], changed[central + 24 : central + 28] = whole, whole
    return Damaged(bytes(changed), f"{size >> 30} GB packed into {len(changed)} bytes")


def some_bytes(rng: Random, content: bytes) -> Damaged:
    """Damage an entry and pack it again with the right sum."""
    entries = _read(content)
    name = rng.choice(sorted(entries))
    entries[name], what, *_ = rng.choice(BYTES)(rng, entries[name])
    return Damaged(_write(entries), f"{name}: {what}")


NPZ = (
    about,
    about,
    about,
    array,
    array,
    values,
    names,
    packed,
    method_byte,
    some_bytes,
    some_bytes,
)
RARE_NPZ = (bomb, many)
