"""Every example in README and docs runs.

The ``python`` blocks of a page are one program, and so are its ``sh`` blocks; each program runs in an empty folder.
A ``text`` block right after an example is what the example prints.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMANDS = {"python": [sys.executable], "sh": ["bash", "-euo", "pipefail"]}
END_OF_BLOCK = {"python": "print('\\x1e')", "sh": "printf '\\x1e\\n'"}
INSTALLATION = re.compile(r"python3 -m venv |pip install |pip uninstall ")
"""Lines of ``sh`` blocks that are not run: the environment of the tests stands for what they install."""
OPTIONAL = ("fastapi", "httpx")
"""Packages of the extra "docs"; a page that imports one is skipped without it."""
NOT_RUN = {
    "pytest -n 2 --dist loadfile\n": "the tests themselves",
    "gpt2xl export gpt2-xl": "downloads 6.4 GB from the hub",
    "gpt2xl bench my-gpt2-xl": "needs two bundles of GPT-2 XL",
    "gpt2xl serve": "runs until it is ended",
    "from openai import": "tests/serve/documents/test_examples.py runs it",
    "# Not run here: it needs a cluster.": "tests/cluster/test_datasets.py shows it",
    "python benchmarks/": "a benchmark",
    "curl ": "tests/serve/documents/test_examples.py runs it",
}
"""How a block continues after installation, and why it does not run."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    code: str
    first_line: int
    last_line: int

    @property
    def lines(self) -> list[str]:
        """Its lines, those of installation empty."""
        return ["" if INSTALLATION.match(line) else line for line in self.code.splitlines()]

    @property
    def reason_not_to_run(self) -> str | None:
        code = "\n".join(self.lines).lstrip("\n") + "\n"
        return next((why for how, why in NOT_RUN.items() if code.startswith(how)), None)

    @property
    def is_run(self) -> bool:
        return self.reason_not_to_run is None


def blocks_of(page: Path) -> list[Block]:
    text = page.read_text("utf-8")
    found = []
    for match in FENCE.finditer(text):
        language, code = match.groups()
        before = text.count("\n", 0, match.start(2))
        found.append(Block(language, code, before, before + code.count("\n")))
    return found


def program(blocks: list[Block], language: str) -> str:
    """The blocks that run, each on the lines where the page has it, so that a traceback names the page's lines."""
    lines = [""] * (blocks[-1].last_line + 1)
    for block in blocks:
        if block.language == language:
            code = block.lines if block.is_run else []
            lines[block.first_line : block.first_line + len(code)] = code
            lines[block.last_line] = END_OF_BLOCK[language]
    return "\n".join(lines) + "\n"


def shown_outputs(blocks: list[Block], language: str) -> list[str | None]:
    """The text that follows each block of ``language`` on its page; None where none does."""
    end = Block("", "", 0, 0)
    return [
        following.code if following.language == "text" and block.is_run else None
        for block, following in pairwise([*blocks, end])
        if block.language == language
    ]


PROGRAMS = [
    pytest.param(page, language, id=f"{page.relative_to(ROOT)}:{language}")
    for page in PAGES
    for language in COMMANDS
    if any(block.language == language and block.is_run for block in blocks_of(page))
]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo's bundle is kept for all pages."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(("page", "language"), PROGRAMS)
def test_examples(page: Path, language: str, cache: Path, tmp_path: Path) -> None:
    blocks = blocks_of(page)
    script = program(blocks, language)
    for package in OPTIONAL:
        if f"from {package}" in script and not find_spec(package):
            pytest.skip(f"{package} is not installed")
    (tmp_path / "page").write_text(script, "utf-8")
    folder = tmp_path / "folder"
    folder.mkdir()
    place = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*COMMANDS[language], str(tmp_path / "page")],
        env=os.environ
        | {
            "GPT2XL_CACHE": str(cache),
            "GPT2XL_CONFIG": str(tmp_path / "config.toml"),
            "PATH": place,
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    outputs = done.stdout.split("\x1e\n")[:-1]
    for output, shown in zip(outputs, shown_outputs(blocks, language), strict=True):
        assert shown is None or output.rstrip() == shown.rstrip()


def test_what_is_not_run_exists() -> None:
    reasons = {block.reason_not_to_run for page in PAGES for block in blocks_of(page)}
    assert set(NOT_RUN.values()) <= reasons
