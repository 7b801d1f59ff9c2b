"""Files that the docs name exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATH = re.compile(r"`([\w./-]+/[\w.-]+\.(?:py|md|toml))`|`(\w+\.py)`")
PAGES = {
    "CONTRIBUTING.md": ["", "runtime/gpt2xl", "export/gpt2xl_export"],
    "docs/life-of-a-prompt.md": ["", "runtime/gpt2xl"],
    "docs/life-of-a-weight.md": ["", "export/gpt2xl_export"],
}
"""The folders in which each page's paths start."""


@pytest.mark.parametrize("page", PAGES)
def test_named_files_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    names = [nested or plain for nested, plain in PATH.findall(text)]
    assert names
    missing = [n for n in names if not any((ROOT / start / n).exists() for start in PAGES[page])]
    assert missing == []
