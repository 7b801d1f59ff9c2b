"""Panels in two columns, as --help shows them; without rich, whose import takes longer than all else here."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from shutil import get_terminal_size
from textwrap import wrap

from gpt2xl_cli.terminal import BOLD, DIM, painted

NAME, VALUE = "36", "33"  # styles of names and of what stands for values
MIN_WIDTH, MAX_WIDTH, LEFT_WIDTH = 60, 100, 30
NO_BREAK = "\xa0"  # keeps words together; shown as a space
REMARK = re.compile(r"\[(?:default: [^]]*|required)\]")


@dataclass(frozen=True)
class Row:
    """An option, an argument or a command."""

    name: str
    help: str
    value: str = ""
    """What stands for its value."""


def page_width() -> int:
    """Columns that a page takes."""
    return max(MIN_WIDTH, min(MAX_WIDTH, get_terminal_size().columns))


def panel(title: str, rows: Iterable[Row], left_width: int = LEFT_WIDTH) -> Iterator[str]:
    """The lines of a box: names and values in ``left_width`` columns, help at their right."""
    inner = page_width() - 4
    head = f"─ {title} "
    yield painted(f"╭{head}{'─' * (inner + 2 - len(head))}╮", DIM)
    edge = painted("│", DIM)
    for row in rows:
        for text, shown in _lines(row, inner, left_width):
            yield f"{edge} {shown}{' ' * (inner - len(text))} {edge}"
    yield painted(f"╰{'─' * (inner + 2)}╯", DIM)


def _lines(row: Row, width: int, left_width: int) -> Iterator[tuple[str, str]]:
    """The lines of a row: as plain text, and as it is shown."""
    left = f"{row.name} {row.value}".rstrip()
    shown = f"{painted(row.name, NAME)} {painted(row.value, VALUE)}".rstrip()
    kept = REMARK.sub(lambda found: found[0].replace(" ", NO_BREAK), row.help)
    lines = wrap(kept, width - left_width, break_on_hyphens=False) or [""]
    if len(left) >= left_width:
        yield left, shown
        left = shown = ""
    for line in lines:
        text = line.replace(NO_BREAK, " ")
        gap = " " * (left_width - len(left))
        yield left + gap + text, shown + gap + REMARK.sub(lambda f: painted(f[0], DIM), text)
        left = shown = ""


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a text, wrapped, with an empty line after each."""
    for paragraph in text.split("\n\n"):
        yield from (f" {line}" for line in wrap(paragraph, page_width() - 2))
        yield ""


def example_lines(examples: Iterable[str]) -> Iterator[str]:
    """Commands to copy, one a line."""
    yield f" {painted('Examples', BOLD)}"
    yield from (f"   {example}" for example in examples)
