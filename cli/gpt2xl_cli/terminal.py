"""What goes to the terminal: text of files and arguments never moves its cursor or changes its state."""

import sys

import typer

KEPT = "\n\t"


def echo_line(text: object, *, err: bool = False) -> None:
    """Print one line that may hold what files and arguments say."""
    from gpt2xl.errors import one_line

    typer.echo(one_line(text), err=err)


def echo_text(text: str, *, nl: bool = True) -> None:
    """Print text that a model made: into files and pipes as it is, on a terminal without control characters."""
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    # color: else typer leaves terminal escapes out of files and pipes
    typer.echo(escaped(text) if is_terminal else text, nl=nl, color=True)


def escaped(text: str) -> str:
    r"""``text`` with its control characters, but for line ends and tabs, written out.

    >>> escaped("a\x1b[2J\r\n\tb\x9b")
    'a\\x1b[2J\\x0d\n\tb\\x9b'
    """
    return "".join(f"\\x{ord(c):02x}" if _is_control(c) else c for c in text)


def _is_control(character: str) -> bool:
    return character not in KEPT and (character < " " or "\x7f" <= character < "\xa0")
