"""A bundle to tamper with."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, to be changed."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))
