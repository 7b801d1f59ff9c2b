"""What an engine counts; metrics are made of it."""

from collections.abc import Callable
from dataclasses import dataclass


def _ignore(_: float) -> None:
    pass


@dataclass
class Statistics:
    """Counts since the start; the engine's thread and the event loop write them, anybody reads them."""

    texts_submitted: int = 0
    texts_finished: int = 0
    texts_failed: int = 0
    """Ended by an error."""
    texts_cancelled: int = 0
    """Given up by their clients."""
    requests_refused: int = 0
    """The queue was full."""
    prompt_tokens: int = 0
    """Of submitted texts."""
    new_tokens: int = 0
    steps: int = 0
    crashes: int = 0
    """Steps that failed as a whole."""
    observe_first_token: Callable[[float], object] = _ignore
    """Called with the seconds from a text's submission to its first token."""
    observe_next_token: Callable[[float], object] = _ignore
    """Called with the seconds between two tokens of a text."""
