"""Running text as continuations: each window scores the tokens that the windows before did not.

Positions are absolute in GPT-2, so a window that begins at another token shares no keys and values with the one before.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from gpt2xl import Continuation


class Windows(Sequence[Continuation]):
    """Windows over one document.

    The model reads ``context`` tokens of a window, and what follows each of them can be scored: a window is one token longer.
    The last window begins early enough to be as long as the others.

    Args:
        ids: the prefix token, then the document. The first id is not scored.
        context: tokens that the model reads of a window.
        stride: tokens that each window but the first scores, ``context`` at most.

    >>> [(list(w.context), list(w.ids)) for w in Windows(range(6), context=3, stride=2)]
    [([0], [1, 2, 3]), ([2, 3], [4, 5])]
    """

    def __init__(self, ids: Sequence[int], context: int, stride: int) -> None:
        self.ids, self._length, self._stride = ids, context + 1, stride

    def __len__(self) -> int:
        if len(self.ids) < 2:
            return 0
        beyond = max(0, len(self.ids) - self._length)
        return 1 + -(-beyond // self._stride)

    def __getitem__(self, index: int) -> Continuation:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        end = min(self._length + index * self._stride, len(self.ids))
        first = 1 if index == 0 else self._length + (index - 1) * self._stride
        context = self.ids[max(0, end - self._length) : first]
        return Continuation(list(context), list(self.ids[first:end]))


class WindowsOfDocuments(Sequence[Continuation]):
    """The windows of one document after the other.

    >>> both = WindowsOfDocuments([Windows(range(6), 3, 2), Windows(range(7, 9), 3, 2)], limit=None)
    >>> len(both), both[2].ids, both.scored_tokens
    (3, [8], 6)

    Args:
        documents: the windows of each.
        limit: how many windows there are at most; None for all.
    """

    def __init__(self, documents: Sequence[Windows], limit: int | None) -> None:
        self._documents = documents
        self._ends = list(accumulate(map(len, documents)))
        self._limit = limit
        self.scored_tokens = sum(max(0, len(each.ids) - 1) for each in documents)
        """Tokens of all documents that are scored without a limit."""

    def __len__(self) -> int:
        windows = self._ends[-1] if self._ends else 0
        return windows if self._limit is None else min(windows, self._limit)

    def __getitem__(self, index: int) -> Continuation:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        number = bisect_right(self._ends, index)
        return self._documents[number][index - (self._ends[number - 1] if number else 0)]
