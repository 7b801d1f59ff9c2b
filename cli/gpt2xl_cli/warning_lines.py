"""Show Python warnings as one line each on stderr, at once or after a block of code."""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """Print one line; replaces `warnings.showwarning`, which prints source files and line numbers."""
    from gpt2xl.errors import one_line

    if sys.stderr is not None:  # not typer's echo: it would print onto a progress bar
        sys.stderr.write(one_line(f"warning: {message}") + "\n")
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
