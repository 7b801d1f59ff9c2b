"""The demo's bundle, which wheels carry; `hatch_build.py` makes it."""

from importlib.resources import files
from pathlib import Path

DEMO = "demo"


def demo_bundle() -> Path | None:
    """The folder of the bundle in this installation; None in a checkout, where the exporter makes one.

    >>> folder = demo_bundle()
    >>> folder is None or folder.name == "demo"
    True
    """
    folder = Path(str(files("gpt2xl"))) / DEMO
    return folder if folder.is_dir() else None
