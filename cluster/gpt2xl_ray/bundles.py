"""The bundle on this machine: fetched from a store once, however many actors the machine has."""

import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from platformdirs import user_cache_path
from pyarrow import fs

from gpt2xl import BundleError, RequestError
from gpt2xl.errors import BusyError
from gpt2xl.files.atomic import locked, written_atomically
from gpt2xl_ray.storage import Place, is_uri, shown_uri, storage_errors

MANIFEST = "gpt2xl.json"
WAIT_SECONDS = 3600
"""How long an actor waits while another one of its machine fetches the bundle."""


def local_bundle(bundle: str) -> str:
    """A folder on this machine, or a name that `gpt2xl.load` knows; what a URI names is fetched, once.

    Raises:
        BundleError: there is no bundle.
        RequestError: the store cannot be read.
    """
    if not is_uri(bundle):
        return bundle
    target = user_cache_path("gpt2xl-ray") / bundle_key(bundle)[:24]
    target.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + WAIT_SECONDS
    while not target.is_dir():
        try:
            _fetch(bundle, target)
        except BusyError:
            if time.monotonic() > end:
                raise
    return str(target)


def bundle_key(bundle: str) -> str:
    """What stands for a bundle: a hash of its manifest, which has the hashes of its files; else of its name.

    Raises:
        BundleError: a URI that names no bundle.
    """
    manifest = Place.of(bundle).child(MANIFEST)
    content = bundle.encode()
    if is_uri(bundle):
        try:
            content = manifest.read()
        except RequestError as reason:
            raise BundleError(f"'{shown_uri(bundle)}' is no bundle: {reason}") from None
    else:
        with suppress(RequestError):
            content = manifest.read()
    return sha256(content).hexdigest()


def _fetch(bundle: str, target: Path) -> None:
    with locked(target, wait=True):
        if target.is_dir():
            return
        source = Place.of(bundle)
        with written_atomically(target) as temporary, storage_errors(source.name):
            temporary.mkdir()
            fs.copy_files(source.path, str(temporary), source.filesystem, fs.LocalFileSystem())
