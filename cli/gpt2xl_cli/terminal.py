"""Print text from files, arguments and models without sending the terminal control characters.

typer is imported where it is needed: the first page of help does without.
"""

import os
import sys
from typing import TextIO

UNESCAPED = "\n\t"
BOLD, DIM = "1", "2"  # parameters of SGR


def echo_line(text: object, *, err: bool = False) -> None:
    """Print one line; control characters in it are escaped."""
    import typer

    from gpt2xl.errors import one_line

    typer.echo(one_line(text), err=err)


def echo_text(text: str, *, nl: bool = True, style: str = "") -> None:
    """Print generated text: unchanged into files and pipes, escaped on a terminal, there in a style of SGR."""
    import typer

    shown = painted(escaped(text), style) if is_terminal(sys.stdout) else text
    # color: otherwise typer removes terminal escapes from files and pipes
    typer.echo(shown, nl=nl, color=True)


def echo_note(text: object) -> None:
    """Print a dim line on stderr, if it is a terminal."""
    from gpt2xl.errors import one_line

    if is_terminal(sys.stderr):
        sys.stderr.write(painted(one_line(text), DIM, sys.stderr) + "\n")


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
