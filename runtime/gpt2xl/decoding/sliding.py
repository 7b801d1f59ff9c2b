"""Texts longer than the context: at the limit, its beginning and its last tokens are fed again from position 0."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Slide:
    """What a text shows its model; one object belongs to one text, from its first token to its last.

    >>> slide = Slide(keep=1, window=2, n_positions=4)
    >>> slide.shown([0, 1, 2, 3]), slide.shown([0, 1, 2, 3, 4]), slide.shown([0, 1, 2, 3, 4, 5])
    ([0, 1, 2, 3], [0, 3, 4], [0, 3, 4, 5])
    """

    keep: int
    """Tokens of the beginning that stay."""
    window: int
    """Last tokens that stay; ``keep + window`` is below ``n_positions``."""
    n_positions: int
    dropped: int = 0
    """Tokens after the first ``keep`` that are not shown any more."""

    def length(self, text_length: int) -> int:
        """How many of the ``text_length`` tokens of a text are shown."""
        shown = text_length - self.dropped
        return self.keep + self.window if shown > self.n_positions else shown

    def is_due(self, text_length: int) -> bool:
        """Whether a text of ``text_length`` tokens does not fit any more."""
        return text_length - self.dropped > self.n_positions

    def shown(self, ids: Sequence[int], drafted: int = 0) -> list[int]:
        """What is fed of ``ids``, whose last ``drafted`` are draft tokens; drops tokens where that is due."""
        length = len(ids) - drafted
        self.dropped = length - self.length(length)
        return [*ids[: self.keep], *ids[self.keep + self.dropped :]]
