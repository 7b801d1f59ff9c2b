"""Keys and values of a prompt in a file, so that another process need not compute the prompt again.

The file is a zip of two arrays as `numpy.savez` writes it: `about`, the bytes of a JSON object, and
`keys_and_values`, [2 * n_layer, n_head, tokens, head_dim] in the type of the model's KV cache.
"""

import json
import os
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import numpy.typing as npt

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.decoding.context import Context
from gpt2xl.errors import RequestError, first_line
from gpt2xl.files.atomic import locked, written_atomically
from gpt2xl.files.json_values import Value, parse_json
from gpt2xl.files.reading import check_regular

FORMAT = 1
ZIP_END, ZIP64_LOCATOR = 22, 20  # bytes of the records at the end of a zip
ID_BYTES = 12  # of one id in JSON, at most
MAX_HEADER_BYTES = 1 << 12
# As numpy writes it. numpy's own reader evaluates the header as Python, and allocates whatever size it states.
NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '(?P<type>[^']{3})', 'fortran_order': False,"
    rb" 'shape': \((?P<shape>[\d, ]*)\), \} *\n",
    re.DOTALL,
)


def bundle_id(bundle: Bundle) -> str:
    """A hash of the checksums of graphs, weights and tokenizer, as the manifest lists them.

    Raises:
        RequestError: the bundle has no manifest.
    """
    files = bundle.manifest.files if bundle.manifest else None
    if not files:
        raise RequestError(
            f"'{bundle.folder}' has no manifest, so a prompt cache cannot be matched with it:"
            " export the model with gpt2xl."
        )
    sums = {name: entry.sha256 for name, entry in files.items() if name != "README.md"}
    return sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def save_context(context: Context, owner: str, path: Path) -> None:
    """Write the content of ``context`` to ``path`` atomically; ``owner`` is a `bundle_id`.

    Waits for another process that writes the same file.

    Raises:
        OSError: the file cannot be written; an older one stays.
    """
    about = {"format": FORMAT, "bundle": owner, "ids": context.ids}
    values = np.concatenate(context.cache.keys_and_values)  # the context has a single row
    with (
        locked(path, wait=True),
        written_atomically(path) as temporary,
        temporary.open("xb") as file,
    ):
        np.savez(
            file,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            keys_and_values=values,
        )


def load_context(context: Context, owner: str, path: Path, vocab_size: int) -> None:
    """Fill the new ``context`` with what `save_context` wrote.

    The file is not trusted: reading it takes no more memory than a prompt that fills the model's context.

    Args:
        context: the model's.
        owner: the `bundle_id` of its bundle.
        path: the file.
        vocab_size: the model's.

    Raises:
        RequestError: there is no such file, or it is not a prompt cache of this bundle.
    """
    check_regular(path, RequestError)
    try:
        _check_directory(path)
        with ZipFile(path) as file:
            about = Value(_about(file, context.session.n_positions), path, RequestError)
            _check_owner(about, owner)
            values = _keys_and_values(file, context)
        ids = [
            item.integer(0, vocab_size - 1)
            for item in about.get("ids").items(context.session.n_positions)
        ]
        context.restore(ids, list(values[:, None]))
    except (MemoryError, RequestError):
        raise
    except OSError as reason:
        raise RequestError(f"'{path}' cannot be read: {reason.strerror or reason}.") from None
    except Exception as reason:  # zipfile and numpy raise some dozen kinds
        raise RequestError(f"'{path}' is not a prompt cache: {first_line(reason)}") from None


def _check_directory(path: Path) -> None:
    """Refuse a zip with a large directory: zipfile would create an object for each of its entries."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - ZIP_END - ZIP64_LOCATOR))
        tail = file.read()
    directory_size = int.from_bytes(tail[-10:-6], "little")
    is_zip64 = tail.startswith(b"PK\x06\x07") and size < 2**31
    if tail[-ZIP_END:-18] != b"PK\x05\x06" or is_zip64 or directory_size > MAX_HEADER_BYTES:
        raise ValueError("not a zip of two arrays")


def _check_owner(about: Value, owner: str) -> None:
    found = about.get("format").integer()
    if found != FORMAT:
        raise RequestError(f"'{about.file}' has format {found}, this gpt2xl reads {FORMAT}.")
    if about.get("bundle").text() != owner:
        raise RequestError(
            f"'{about.file}' was saved with another bundle: delete it or name another."
        )


def _about(file: ZipFile, n_positions: int) -> Any:
    most = MAX_HEADER_BYTES + ID_BYTES * n_positions
    return parse_json(_array(file, "about", np.dtype(np.uint8), (None,), most).tobytes())


def _keys_and_values(file: ZipFile, context: Context) -> npt.NDArray[np.generic]:
    """[2 * n_layer, n_head, tokens, head_dim] from ``file``; ValueError where a value is not finite."""
    held = context.cache.keys_and_values
    _, n_head, _, head_dim = held[0].shape
    dtype, most = held[0].dtype, context.session.n_positions
    shape = (len(held), n_head, None, head_dim)
    size = len(held) * n_head * most * head_dim * dtype.itemsize
    array = _array(file, "keys_and_values", dtype, shape, size)
    if dtype.kind == "f" and not all(np.isfinite(layer).all() for layer in array):
        raise ValueError("keys or values are not numbers")
    return array


def _array(
    file: ZipFile, name: str, dtype: np.dtype[Any], shape: Sequence[int | None], max_bytes: int
) -> npt.NDArray[Any]:
    """The array ``name``; ValueError unless it has ``dtype`` and ``shape``, where None is any size."""
    entry = file.getinfo(f"{name}.npy")
    if entry.compress_type != ZIP_STORED or entry.file_size > max_bytes + MAX_HEADER_BYTES:
        raise ValueError(f"{name} is compressed or too large")
    content = file.read(entry)
    header = NPY_HEADER.match(content, 0, MAX_HEADER_BYTES)
    if header is None or header["type"].decode() != dtype.str:
        raise ValueError(f"{name} is of another type")
    found = [int(size) for size in header["shape"].split(b",") if size.strip()]
    fits = (want in (None, have) for have, want in zip(found, shape, strict=False))
    if len(found) != len(shape) or not all(fits):
        raise ValueError(f"{name} has the shape {found}")
    return np.frombuffer(content, dtype, offset=header.end()).reshape(found)
