"""Print text from files, arguments and models without sending the terminal control characters.

typer is imported where it is needed: the first page of help does without.
"""

import os
import sys
from typing import TextIO

from gpt2xl_cli.word_wrap import Paint, WordWrap, wrapped

UNESCAPED = "\n\t"
SHORT = 500  # characters of a line that is certainly not cut
BOLD, DIM = "1", "2"  # parameters of SGR


def echo_line(text: object, *, err: bool = False, indent: int | None = None) -> None:
    """Print one line; control characters in it are escaped.

    Args:
        text: the line.
        err: print it on stderr, on a terminal broken between words.
        indent: the same on stdout; columns before all lines but the first.
    """
    import typer

    line = _one_line(text)
    if (err or indent is not None) and is_terminal(sys.stderr if err else sys.stdout):
        line = wrapped(line, indent or 0)
    typer.echo(line, err=err)


def echo_text(text: str) -> None:
    """Print a line of text: unchanged into files and pipes, escaped on a terminal."""
    import typer

    # color: otherwise typer removes terminal escapes from files and pipes
    typer.echo(escaped(text) if is_terminal(sys.stdout) else text, color=True)


class GrowingText:
    """Generated text on stdout, piece by piece: unchanged into files and pipes; on a terminal escaped, and whole words."""

    def __init__(self) -> None:
        has_cursor = is_terminal(sys.stdout) and os.environ.get("TERM", "dumb") != "dumb"
        self._wrap = WordWrap() if has_cursor else None

    def write(self, text: str, paint: Paint = str) -> None:
        """Add ``text``; ``paint`` gives a part of it a style on a terminal."""
        import typer

        if is_terminal(sys.stdout):
            shown = escaped(text)
            text = self._wrap.add(shown, paint) if self._wrap else paint(shown)
        typer.echo(text, nl=False, color=True)


def echo_note(text: object) -> None:
    """Print a dim line on stderr, if it is a terminal."""
    if is_terminal(sys.stderr):
        sys.stderr.write(painted(wrapped(_one_line(text)), DIM, sys.stderr) + "\n")


def _one_line(text: object) -> str:
    line = str(text)
    if len(line) < SHORT and line.isprintable():
        return line  # importing the runtime would take a third of a second before the first line of a command
    from gpt2xl.errors import one_line

    return one_line(line)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether people read ``stream``; None is a closed one."""
    return stream is not None and stream.isatty()


def has_colors(stream: TextIO | None) -> bool:
    """Whether ``stream`` is a terminal with colours; NO_COLOR says that it has none."""
    if not is_terminal(stream) or os.environ.get("NO_COLOR"):
        return False
    return os.environ.get("TERM", "dumb") != "dumb"


def painted(text: str, style: str, stream: TextIO | None = None) -> str:
    """``text`` in a style of SGR, where ``stream`` (None: stdout) has colours."""
    return (
        f"\x1b[{style}m{text}\x1b[0m"
        if text and style and has_colors(stream or sys.stdout)
        else text
    )


def escaped(text: str) -> str:
    r"""Escape control characters other than line ends and tabs.

    >>> escaped("a\x1b[2J\r\n\tb\x9b")
    'a\\x1b[2J\\x0d\n\tb\\x9b'
    """
    return "".join(f"\\x{ord(c):02x}" if _is_control(c) else c for c in text)


def _is_control(character: str) -> bool:
    return character not in UNESCAPED and (character < " " or "\x7f" <= character < "\xa0")
