"""Show Python warnings as one line each on stderr, at once or after a block of code."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from gpt2xl_cli.terminal import is_terminal
from gpt2xl_cli.word_wrap import wrapped


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print one line; replaces `warnings.showwarning`, which prints source files and line numbers."""
    from gpt2xl.errors import one_line

    if sys.stderr is not None:  # not typer's echo: it would print onto a progress bar
        line = one_line(f"warning: {message}")
        sys.stderr.write((wrapped(line) if is_terminal(sys.stderr) else line) + "\n")
        sys.stderr.flush()


@contextmanager
def warnings_collected() -> Iterator[list[str]]:
    """Collect the block's warnings for its summary; if the block fails, show them before the error."""
    collected, usual = list[str](), warnings.showwarning
    warnings.showwarning = lambda message, *_, **__: collected.append(str(message))
    try:
        yield collected
    except BaseException:
        for message in collected:
            show_warning(message)
        raise
    finally:
        warnings.showwarning = usual
