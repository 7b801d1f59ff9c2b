"""Print text from files, arguments and models without sending the terminal control characters."""

import sys

import typer

UNESCAPED = "\n\t"


def echo_line(text: object, *, err: bool = False) -> None:
    """Print one line; control characters in it are escaped."""
    from gpt2xl.errors import one_line

    typer.echo(one_line(text), err=err)


def echo_text(text: str, *, nl: bool = True) -> None:
    """Print generated text: unchanged into files and pipes, escaped on a terminal."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    # color: otherwise typer removes terminal escapes from files and pipes
    typer.echo(escaped(text) if is_terminal else text, nl=nl, color=True)


def escaped(text: str) -> str:
    r"""Escape control characters other than line ends and tabs.

    >>> escaped("a\x1b[2J\r\n\tb\x9b")
    'a\\x1b[2J\\x0d\n\tb\\x9b'
    """
    return "".join(f"\\x{ord(c):02x}" if _is_control(c) else c for c in text)


def _is_control(character: str) -> bool:
    return character not in UNESCAPED and (character < " " or "\x7f" <= character < "\xa0")
