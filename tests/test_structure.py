"""Limits on the size of files and folders, so that a reader finds things."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = (
    "runtime/gpt2xl",
    "export/gpt2xl_export",
    "evaluate/gpt2xl_eval",
    "serve/gpt2xl_serve",
    "cluster/gpt2xl_ray",
    "cli/gpt2xl_cli",
    "tests",
    "benchmarks",
)
MAX_LINES = 350
MAX_MODULES = 14


def python_files(folder: str) -> list[Path]:
    return [path for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts]


def test_no_file_is_too_long() -> None:
    modules = [path for folder in (*SOURCES, "models", "examples") for path in python_files(folder)]
    page = [path for path in (ROOT / "serve/gpt2xl_serve/page").rglob("*.*") if path.is_file()]
    assert page
    counts = {
        str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines())
        for path in (*modules, *page)
    }
    assert {path: lines for path, lines in counts.items() if lines > MAX_LINES} == {}


def test_no_folder_has_too_many_modules() -> None:
    """Folders count their own modules, ``__init__.py`` aside, not those of folders in them."""
    modules = [path for folder in SOURCES for path in python_files(folder)]
    counts: dict[str, int] = {}
    for path in modules:
        if path.name != "__init__.py":
            folder = str(path.parent.relative_to(ROOT))
            counts[folder] = counts.get(folder, 0) + 1
    assert counts
    assert {folder: count for folder, count in counts.items() if count > MAX_MODULES} == {}
