"""Break the lines of a terminal between words, also where a text comes in pieces."""

import re
from collections.abc import Callable, Iterator
from shutil import get_terminal_size
from unicodedata import combining, east_asian_width

MIN_COLUMNS = 20
"""Narrower terminals break lines themselves."""
TAB = 8
WORDS = re.compile(r"`[^`]*`\S*|\S+")
"""A command in backticks stays on one line, so that it can be copied."""
Paint = Callable[[str], str]


class WordWrap:
    """A text that grows on a terminal, from its first column on: a word that does not fit moves to the next line.

    The terminal breaks a word that is longer than a line. Wide characters, of scripts without spaces, may part anywhere.
    """

    def __init__(self) -> None:
        self._column = self._start = 0
        self._word: list[tuple[str, Paint]] = []
        """The characters that the line shows from column ``_start`` on."""

    def add(self, text: str, paint: Paint = str) -> str:
        """What to write so that the terminal shows ``text`` as well.

        Args:
            text: without control characters other than line ends and tabs.
            paint: gives a part of it a style; nothing for nothing.
        """
        columns = get_terminal_size().columns
        if columns < MIN_COLUMNS:
            return paint(text)
        written = line = ""
        for character in text:
            width = self._width(character)
            is_beyond = self._column + width > columns
            if is_beyond and character.isspace():
                self._end_word(columns)  # a space at the end of a line is left out
                continue
            if is_beyond:
                written, line = written + paint(line) + self._new_line(), ""
            line += character
            self._count(character, width, paint)
        return written + paint(line)

    def _width(self, character: str) -> int:
        if character in "\n\t":
            return 0 if character == "\n" else TAB - self._column % TAB
        return width_of(character)

    def _count(self, character: str, width: int, paint: Paint) -> None:
        self._column = 0 if character == "\n" else self._column + width
        if character.isspace() or width > 1:
            self._end_word(self._column)
        else:
            self._word.append((character, paint))

    def _end_word(self, column: int) -> None:
        self._column = self._start = column
        self._word.clear()

    def _new_line(self) -> str:
        """Go to the next line, with the word that has begun on this one."""
        start = self._start
        if start == 0:
            self._end_word(0)
            return ""
        self._column, self._start = self._column - start, 0
        word = "".join(paint(character) for character, paint in self._word)
        return f"\x1b[{start + 1}G\x1b[K\n{word}" if word else "\n"


def wrapped(text: str, indent: int = 0) -> str:
    """A line as several that fit the terminal, broken between words and not in commands.

    Args:
        text: without line ends.
        indent: columns before all lines but the first.
    """
    columns = get_terminal_size().columns
    if columns - indent < MIN_COLUMNS or width_of(text) <= columns:
        return text
    return f"\n{' ' * indent}".join(_lines(text, columns, indent))


def _lines(text: str, columns: int, indent: int) -> Iterator[str]:
    room, start, end = columns, 0, 0
    for word in WORDS.finditer(text):
        if end and width_of(text[start : word.end()]) > room:
            yield text[start:end]
            room, start = columns - indent, word.start()
        end = word.end()
    yield text[start:]


def width_of(text: str) -> int:
    r"""Columns that a terminal takes for ``text``.

    >>> width_of("king"), width_of("王"), width_of("e\u0301")
    (4, 2, 1)
    """
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if combining(character) or character in "\u200b\u200d\ufe0f":
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
