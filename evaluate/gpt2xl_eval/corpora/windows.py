"""Running text as continuations: each window scores the tokens that the windows before did not."""

from collections.abc import Sequence

from gpt2xl import Continuation


class Windows(Sequence[Continuation]):
    """Windows over one document.

    Args:
        ids: the prefix token, then the document. The first id is not scored.
        context: tokens of a window, counted with those that are scored.
        stride: tokens that each window but the first scores.

    >>> [(list(w.context), list(w.ids)) for w in Windows(range(6), context=4, stride=2)]
    [([0], [1, 2, 3]), ([2, 3], [4, 5])]
    """

    def __init__(self, ids: Sequence[int], context: int, stride: int) -> None:
        self._ids, self._context, self._stride = ids, context, stride

    def __len__(self) -> int:
        beyond = max(0, len(self._ids) - self._context)
        return 1 + -(-beyond // self._stride)

    def __getitem__(self, index: int) -> Continuation:  # type: ignore[override]
        if not 0 <= index < len(self):
            raise IndexError(index)
        end = min(self._context + index * self._stride, len(self._ids))
        first = 1 if index == 0 else self._context + (index - 1) * self._stride
        return Continuation(self._ids[max(0, end - self._context) : first], self._ids[first:end])
