"""What a command checks before it measures for a picture."""

from importlib.util import find_spec
from pathlib import Path


def check_picture(path: Path) -> None:
    """Raise RequestError where no picture can be drawn into ``path``."""
    from gpt2xl import RequestError

    if not find_spec("matplotlib"):
        raise RequestError("--picture needs `pip install 'gpt2xl[bench]'`.")
    if path.suffix.lower() != ".png":
        raise RequestError(f"'{path}' has to end in .png: pictures are PNG files.")
    if not path.parent.is_dir():
        raise RequestError(f"'{path}' cannot be written: '{path.parent}' is not a folder.")
