"""The package llguidance: imported when it is needed, what is used of it, its messages, and texts to hand it."""

import re
from importlib import import_module
from typing import Any, Protocol

from gpt2xl.errors import RequestError, one_line

EXCERPT = re.compile(r"\s*\d+ \| |\s*\^+\s*$|\s*$")  # lines that show the grammar, not the fault
PLACE = re.compile(r"^(?:at )?(\d+)\((\d+)\): ")
REGEX_FAULT = re.compile(r"regex parse error:\n {4}(.*)\n {4}( *)\^+.*\nerror: (.*)")
MAX_CHARACTERS = 400  # of a message
SHOWN_CHARACTERS = 60  # of a grammar, in messages


class Matcher(Protocol):
    """What is used of ``llguidance.LLMatcher``. It raises nothing: an error is a state that it stays in."""

    def compute_bitmask(self) -> bytes:
        """A bit for each token, whether it may be next; only the end in a state of error."""

    def try_consume_tokens(self, tokens: list[int]) -> int:
        """Go on, up to the first token that does not fit; returns their number."""

    def validate_tokens(self, tokens: list[int]) -> int:
        """How many tokens fit, without going on."""

    def rollback(self, num_tokens: int) -> bool:
        """Go back; False where that fails."""

    def is_accepting(self) -> bool:
        """Whether the text may end."""

    def is_error(self) -> bool:
        """Whether there was an error."""

    def get_error(self) -> str:
        """Its message."""

    def deep_copy(self) -> "Matcher":
        """An independent matcher in the same state."""


def llguidance(module: str = "") -> Any:
    """The package, or a module of it.

    Raises:
        RequestError: it is not installed.
    """
    try:
        return import_module(f"llguidance.{module}" if module else "llguidance")
    except ModuleNotFoundError:
        raise RequestError("grammars need `pip install 'gpt2xl[grammar]'`.") from None


def problem(message: str) -> str:
    r"""What llguidance's ``message`` says, in one line with the place.

    >>> problem('at 2(8): unknown name: "b"\n   1 | start: a\n   2 | a: b\n         ^\n')
    'line 2, column 8: unknown name: "b"'
    """
    if fault := REGEX_FAULT.search(message):
        pattern, spaces, reason = fault.groups()
        rest = pattern[len(spaces) :]
        return f"{reason}, at {rest!r}" if rest else f"{reason}, at its end"
    lines = re.split("<state>|; following special tokens", message)[0].splitlines()
    kept = " ".join(line.strip() for line in lines if not EXCERPT.match(line))
    return PLACE.sub(r"line \1, column \2: ", kept)[:MAX_CHARACTERS].rstrip(". ")


def checked_text(name: str, text: object) -> str:
    """``text``, which has to be valid Unicode; RequestError says that the ``name`` is not."""
    if not isinstance(text, str):
        raise RequestError(f"a {name} has to be a str, but is {text!r}.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(
            f"the {name} {text!r} is not valid Unicode: it holds a lone surrogate."
        ) from None
    return text


def shown(source: str) -> str:
    """The beginning and end of ``source``, quoted."""
    return one_line(repr(source), SHOWN_CHARACTERS)
