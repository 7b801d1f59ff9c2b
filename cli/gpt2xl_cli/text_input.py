"""Read input text from arguments, stdin and files, with one limit on its size."""

import sys
from pathlib import Path
from typing import IO

from gpt2xl_cli.terminal import echo_note

MAX_INPUT_BYTES = 512 << 20


def text_or_stdin(text: str | None) -> str:
    """Return ``text``, or all of stdin if it is None or "-"."""
    return read_stdin() if text is None or text == "-" else text


def without_final_newline(text: str) -> str:
    r"""Remove one line end, which ``echo`` and editors append.

    >>> without_final_newline("Once\n\n")
    'Once\n'
    """
    return text.removesuffix("\r\n" if text.endswith("\r\n") else "\n")


def read_stdin(what: str = "text", *, quiet: bool = False) -> str:
    """Read all of stdin, which has to be UTF-8. On a terminal a line says that it waits for ``what``."""
    from gpt2xl import RequestError

    if sys.stdin is None:
        raise RequestError("there is no stdin to read from.")
    if sys.stdin.isatty() and not quiet:
        echo_note(f"Type the {what}; Ctrl-D on a line of its own ends it.")
    return _decode(_read_limited(sys.stdin.buffer, "stdin"), "stdin")


def read_text_file(path: Path) -> str:
    """Read a UTF-8 file; raises RequestError if it is unreadable, too large or not UTF-8."""
    from gpt2xl import RequestError

    try:
        with path.open("rb") as file:
            return _decode(_read_limited(file, f"'{path}'"), f"'{path}'")
    except OSError as reason:
        raise RequestError(f"'{path}' cannot be read: {reason.strerror}.") from None


def _read_limited(file: IO[bytes], name: str) -> bytes:
    """Read the whole file; the limit is for devices, which never end."""
    from gpt2xl import RequestError

    content = file.read(MAX_INPUT_BYTES + 1)
    if len(content) > MAX_INPUT_BYTES:
        raise RequestError(
            f"{name} is larger than {MAX_INPUT_BYTES >> 20} MB: split it into several parts."
        )
    return content


def _decode(content: bytes, name: str) -> str:
    """Decode UTF-8 and drop a byte order mark."""
    from gpt2xl import RequestError

    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as reason:
        raise RequestError(
            f"{name} is not UTF-8: byte 0x{content[reason.start]:02x} at offset {reason.start}."
        ) from None
