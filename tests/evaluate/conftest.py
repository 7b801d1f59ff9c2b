"""The tokenizer of the tiny checkpoint, and files of data."""

from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import Tokenizer

WriteData = Callable[[str | bytes], Path]


@pytest.fixture(scope="session")
def tiny(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


@pytest.fixture
def write_data(tmp_path: Path) -> WriteData:
    """Call it with the content of a data file for its path."""

    def write(content: str | bytes) -> Path:
        path = tmp_path / "data.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
