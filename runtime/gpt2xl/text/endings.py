"""What ends a text beside end-of-text and its length: stop strings, time, a function, a loop."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gpt2xl.decoding.loop import FinishReason
from gpt2xl.text.sentences import CONSIDERED, ends_between, is_quoting
from gpt2xl.text.stop_strings import StopStrings

LONGEST_LOOP = 128  # tokens of a sequence that is looked for
QUOTE_TOKENS = 32
"""Tokens beyond the limit up to which a sentence within quotation marks does not end a text."""
LEAST_LOOPED = 16  # tokens that all its repetitions have together, so that "- - -" is no loop


@dataclass(frozen=True)
class Endings:
    """The conditions of one text, as options say; they are looked at after each token."""

    stop_strings: Sequence[str] = ()
    keep_stop_string: bool = False
    stopping: Callable[[Sequence[int]], bool] | None = None
    """Gets all ids, prompt included; the text ends where it returns True."""
    is_finished: Callable[[Sequence[int]], bool] | None = None
    """As ``stopping``: whether a grammar allows nothing but the end."""
    context_ids: Sequence[int] = ()
    """The ids before the first new one; without the end of the prompt that token healing generates again."""
    max_time: float | None = None
    """In seconds."""
    repetition_detection: int = 0
    """How many times in a row one sequence of tokens ends the text."""
    sentence_after: int | None = None
    """New tokens from which on the end of a sentence ends the text."""

    def watch(self) -> "Watch":
        """For one text, whose time begins now."""
        return Watch(self)


class Watch:
    """Looks at one text as it grows."""

    def __init__(self, endings: Endings) -> None:
        self._endings = endings
        self._start = time.monotonic()
        self.stop_strings = StopStrings(endings.stop_strings, keeps_found=endings.keep_stop_string)
        self._last = ""

    @property
    def ends_with_sentence(self) -> bool:
        """Whether the end of a sentence may end the text."""
        return self._endings.sentence_after is not None

    def ends_before(self, added: str, count: int) -> bool:
        """Whether a text of ``count`` new tokens ends with a sentence, before ``added``."""
        after, before = self._endings.sentence_after, self._last
        self._last = (before + added)[-CONSIDERED:]
        if after is None or count < after or not ends_between(before, added):
            return False
        return (
            count >= after + QUOTE_TOKENS or "\n\n" in before[-1:] + added or not is_quoting(before)
        )

    def reason(self, new_ids: Sequence[int]) -> FinishReason | None:
        """Why the text ends here, if it does."""
        endings = self._endings
        if self.stop_strings.found is not None:
            return "stop"
        for function in filter(None, (endings.stopping, endings.is_finished)):
            if function([*endings.context_ids, *new_ids]):
                return "stop"
        if endings.repetition_detection and loops(new_ids, endings.repetition_detection):
            return "repetition"
        if endings.max_time is not None and time.monotonic() - self._start >= endings.max_time:
            return "time"
        return None


def loops(ids: Sequence[int], count: int) -> bool:
    """Whether ``ids`` end with one sequence ``count`` times in a row.

    >>> loops([1, *[2, 3, 4, 5] * 4], 4), loops([2, 3] * 3, 3)
    (True, False)
    """
    last = list(ids[-LONGEST_LOOP * count :])
    shortest = max(1, -(-LEAST_LOOPED // count))
    for size in range(shortest, len(last) // count + 1):
        if (
            last[-1] == last[-1 - size]
            and last[-size * count : -size] == last[-size * (count - 1) :]
        ):
            return True
    return False
