"""The errors that this package raises on purpose.

* Gpt2xlError
  * BundleError            a bundle folder is missing a file or disagrees with itself
  * BusyError              another process is writing the same file or folder
  * CheckpointError        a checkpoint is not a GPT-2 that can be exported
  * ExportError            a bundle cannot be written to the given folder, or an extra is missing
  * ParityError            an exported graph does not compute what the checkpoint does
  * ProviderError          onnxruntime is too old, or lacks the execution provider
  * RequestError           a prompt or an option is out of range (also a ValueError)
"""

import os

MAX_LENGTH = 1000  # characters of a message: it quotes names and values, which may be long


class Gpt2xlError(Exception):
    """Base class of every error this package raises on purpose: one line, safe to print."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class BundleError(Gpt2xlError):
    """A bundle folder is missing a file or disagrees with itself."""


class BusyError(Gpt2xlError):
    """Another process is writing the same file or folder."""


class CheckpointError(Gpt2xlError):
    """A checkpoint is not a GPT-2 that can be exported."""


class ExportError(Gpt2xlError):
    """A bundle cannot be written to the given folder, or an extra for it is not installed."""


class ParityError(Gpt2xlError):
    """An exported graph does not compute what the checkpoint does."""


class ProviderError(Gpt2xlError):
    """onnxruntime is too old, or lacks the execution provider that was asked for."""


class RequestError(Gpt2xlError, ValueError):
    """A prompt or an option is out of range."""


class Gpt2xlWarning(UserWarning):
    """The request is served, but not in the way that was asked for."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """``count`` with its noun in the right number.

    Args:
        count: 0 or more.
        noun: of one.
        plural: of several; empty: ``noun`` with an s.

    >>> counted(1, "text"), counted(12, "text"), counted(0, "matrix", "matrices")
    ('1 text', '12 texts', '0 matrices')
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def one_line(text: object, max_length: int = MAX_LENGTH) -> str:
    r"""``text`` as one line, safe to print: control characters escaped, the middle cut out where it is too long.

    It may quote files and arguments with line ends, terminal escapes or marks that reverse the direction of text.

    >>> one_line("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    >>> one_line("abcdefghij", 7)
    'ab...ij'
    """
    shown = _shortened(str(text), max_length)
    return _shortened("".join(map(_printable, shown)), max_length)


def first_line(reason: BaseException) -> str:
    """The first line of the message of ``reason``, or its class name where the message is empty."""
    return next(iter(str(reason).splitlines()), "") or type(reason).__name__


def system_reason(reason: OSError) -> str:
    """What the operating system says, without its number; the path first, where it names one.

    >>> system_reason(FileNotFoundError(2, "No such file or directory", "a/b"))
    "'a/b' cannot be used: No such file or directory."
    """
    if reason.strerror is None:
        return str(reason)
    where = "" if reason.filename is None else f"'{os.fsdecode(reason.filename)}' cannot be used: "
    return f"{where}{reason.strerror}."


def _shortened(text: str, max_length: int) -> str:
    half = (max_length - 3) // 2
    return text if len(text) <= max_length else f"{text[:half]}...{text[-half:]}"


def _printable(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
