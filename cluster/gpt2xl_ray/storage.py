"""Files and folders on local disks, S3 and Google Cloud Storage, by path or URI."""

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from pyarrow import fs

from gpt2xl import RequestError
from gpt2xl.errors import first_line

TEMPORARY = ".gpt2xl-"


def is_uri(name: str) -> bool:
    """Whether ``name`` is a URI such as ``s3://bucket/folder``, not a path."""
    return "://" in name


def shown_uri(name: str) -> str:
    """A path or URI without keys and options, for people.

    >>> shown_uri("s3://key:secret@bucket/folder?scheme=http")
    's3://bucket/folder'
    """
    return re.sub(r"(?<=://)[^/@]*@", "", name).split("?")[0] if is_uri(name) else name


@dataclass(frozen=True)
class Place:
    """A file or folder, which need not exist. It can be pickled."""

    filesystem: fs.FileSystem
    path: str
    """Within the file system."""
    name: str
    """As given, for errors."""

    @classmethod
    def of(cls, name: str) -> "Place":
        """The place that a path or URI means; raises RequestError for a URI that pyarrow does not know."""
        if not is_uri(name):
            return cls(fs.LocalFileSystem(), os.path.abspath(name), name)
        with storage_errors(shown_uri(name)):
            filesystem, path = fs.FileSystem.from_uri(name)
        return cls(filesystem, path.rstrip("/"), shown_uri(name))

    def child(self, name: str) -> "Place":
        """What is called ``name`` in this folder."""
        return replace(self, path=f"{self.path}/{name}", name=f"{self.name.rstrip('/')}/{name}")

    def info(self) -> fs.FileInfo:
        """Its kind and size."""
        with storage_errors(self.name):
            return self.filesystem.get_file_info(self.path)

    def files(self) -> list[fs.FileInfo]:
        """The files in this folder, not those in folders of it, by name."""
        selector = fs.FileSelector(self.path, allow_not_found=True)
        with storage_errors(self.name):
            found = self.filesystem.get_file_info(selector)
        return sorted((item for item in found if item.is_file), key=lambda item: str(item.path))

    def read(self) -> bytes:
        """All bytes of this file."""
        with storage_errors(self.name), self.filesystem.open_input_file(self.path) as file:
            return bytes(file.read())

    def write(self, content: bytes) -> None:
        """Write this file: readers see all of it or nothing."""
        with storage_errors(self.name):
            # An object of a store appears when its stream is closed; a local file when it is renamed.
            if self.filesystem.type_name != "local":
                self._put(self.path, content)
                return
            folder, _, name = self.path.rpartition("/")
            temporary = f"{folder}/{TEMPORARY}{secrets.token_hex(4)}-{name}"
            self._put(temporary, content)
            self.filesystem.move(temporary, self.path)

    def _put(self, path: str, content: bytes) -> None:
        with self.filesystem.open_output_stream(path) as stream:
            stream.write(content)

    def make_folder(self) -> None:
        """Make this folder, and those above it."""
        with storage_errors(self.name):
            self.filesystem.create_dir(self.path, recursive=True)

    def remove(self) -> None:
        """Remove this file."""
        with storage_errors(self.name):
            self.filesystem.delete_file(self.path)


@contextmanager
def storage_errors(name: str) -> Iterator[None]:
    """Errors of the storage name what was read or written."""
    try:
        yield
    except (OSError, ValueError, NotImplementedError) as reason:
        raise RequestError(f"'{name}' cannot be used: {first_line(reason)}") from None
