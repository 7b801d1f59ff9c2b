"""The version of the runtime, without importing it, which takes a moment."""

from importlib.util import find_spec
from runpy import run_path


def version_line() -> str:
    """What --version prints.

    >>> version_line()  # doctest: +ELLIPSIS
    'gpt2xl ...'
    """
    spec = find_spec("gpt2xl")
    assert spec and spec.submodule_search_locations
    values = run_path(f"{spec.submodule_search_locations[0]}/version.py")
    return f"gpt2xl {values['__version__']}"
