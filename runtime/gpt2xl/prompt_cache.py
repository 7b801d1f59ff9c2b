"""Keys and values of a prompt in a file: the prompt need not be computed again, today or tomorrow.

A zip of two arrays as numpy writes it: `about`, JSON in bytes, and `keys_and_values`,
[2 * n_layer, n_head, tokens, head_dim] in the type of the model's KV cache.
"""

import json
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from gpt2xl.bundle import Bundle
from gpt2xl.context import Context
from gpt2xl.errors import RequestError

FORMAT = 1


def bundle_id(bundle: Bundle) -> str:
    """A hash that stands for graphs, weights and tokenizer, as the manifest states them.

    Raises:
        RequestError: the bundle has no manifest.
    """
    files = bundle.manifest.get("files")
    if not files:
        raise RequestError(
            f"'{bundle.folder}' has no manifest, so nobody can tell whose a prompt cache is:"
            " export the model with gpt2xl."
        )
    sums = {name: entry["sha256"] for name, entry in files.items() if name != "README.md"}
    return sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()


def save_context(context: Context, owner: str, path: Path) -> None:
    """Write what ``context`` holds, aside and renamed; ``owner`` is a `bundle_id`.

    Raises:
        OSError: the file cannot be written; an older one stays.
    """
    about = {"format": FORMAT, "bundle": owner, "ids": context.ids}
    values = np.concatenate(context.cache.keys_and_values)  # the context has a single row
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with aside.open("xb") as file:
            np.savez(
                file,
                about=np.frombuffer(json.dumps(about).encode(), np.uint8),
                keys_and_values=values,
            )
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def load_context(context: Context, owner: str, path: Path) -> None:
    """Fill the new ``context`` with what `save_context` wrote.

    Raises:
        RequestError: the file is another model's, or none.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            about = json.loads(content["about"].tobytes())
            _check_owner(about, owner, path)
            values = content["keys_and_values"]
        context.restore([int(token_id) for token_id in about["ids"]], list(values[:, None]))
    except (EOFError, KeyError, MemoryError, OSError, TypeError, ValueError, BadZipFile) as reason:
        if isinstance(reason, RequestError):
            raise
        raise RequestError(f"'{path}' is not a prompt cache: {reason}") from None


def _check_owner(about: dict[str, Any], owner: str, path: Path) -> None:
    if about["format"] != FORMAT:
        raise RequestError(f"'{path}' has format {about['format']}, this gpt2xl reads {FORMAT}.")
    if about["bundle"] != owner:
        raise RequestError(f"'{path}' was saved with another bundle: delete it or name another.")
