"""Every error this package raises on purpose.

* Gpt2xlError
  * BundleError            a bundle folder is missing a file or disagrees with itself
  * BusyError              another process is writing what was to be written
  * CheckpointError        a checkpoint is not a GPT-2 we can export
  * ExportError            a bundle cannot be written where it was asked for
  * ParityError            an exported graph does not compute what the checkpoint does
  * ProviderError          the asked-for execution provider is not there
  * RequestError           a prompt or an option that cannot be served (also a ValueError)
"""

MAX_LENGTH = 1000  # characters of a message; names and values in it may be of any length


class Gpt2xlError(Exception):
    """Base class of every error this package raises on purpose: one line, safe to print."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class BundleError(Gpt2xlError):
    """A bundle folder is missing a file or disagrees with itself."""


class BusyError(Gpt2xlError):
    """Another process is writing the same file or folder."""


class CheckpointError(Gpt2xlError):
    """A checkpoint is not a GPT-2 we can export."""


class ExportError(Gpt2xlError):
    """A bundle cannot be written where it was asked for."""


class ParityError(Gpt2xlError):
    """An exported graph does not compute what the checkpoint does."""


class ProviderError(Gpt2xlError):
    """The asked-for execution provider is not there."""


class RequestError(Gpt2xlError, ValueError):
    """A prompt or an option that cannot be served."""


class Gpt2xlWarning(UserWarning):
    """What was asked for is done, but not in the way it was asked for."""


def one_line(text: object, max_length: int = MAX_LENGTH) -> str:
    r"""``text`` as a line of a terminal or a log: control characters escaped, too long ones cut in the middle.

    Files and arguments may hold anything: line ends, terminal escapes, marks that turn the direction of text.

    >>> one_line("a\x1b[31m\nb")
    'a\\x1b[31m\\nb'
    >>> one_line("abcdefghij", 7)
    'ab...ij'
    """
    shown = _shortened(str(text), max_length)
    return _shortened("".join(map(_printable, shown)), max_length)


def first_line(reason: BaseException) -> str:
    """What ``reason`` says in its first line, its kind where it says nothing."""
    return next(iter(str(reason).splitlines()), "") or type(reason).__name__


def _shortened(text: str, max_length: int) -> str:
    half = (max_length - 3) // 2
    return text if len(text) <= max_length else f"{text[:half]}...{text[-half:]}"


def _printable(character: str) -> str:
    return character if character.isprintable() else repr(character)[1:-1]
