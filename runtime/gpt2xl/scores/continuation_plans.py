"""Which continuations are computed together: one prefix for candidates of a question, one step for short texts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gpt2xl.decoding.context import common_prefix

STEP_TOKENS = 256
"""Most tokens of several rows in one step; more of them are no faster and take more memory."""
AHEAD_TOKENS = 4096
"""Tokens of the texts that are read before the first of them is scored."""
SHARED_TOKENS = 32
"""A shorter prefix costs more as a step of its own than it saves."""
MOST_TOGETHER = 64
"""Continuations of one text, and texts of one prefix: their scores come together."""


@dataclass(frozen=True)
class Wanted:
    """A continuation whose tokens are wanted."""

    number: int
    first: int
    """The position whose logits the first of ``ids`` is scored by: one before it."""
    ids: Sequence[int]

    @property
    def end(self) -> int:
        """One after the last position that is wanted."""
        return self.first + len(self.ids)


@dataclass(frozen=True)
class Text:
    """Ids to feed, and what is wanted of their logits."""

    ids: Sequence[int]
    wanted: list[Wanted]

    @property
    def first(self) -> int:
        """The first position whose logits are wanted."""
        return min(each.first for each in self.wanted)


@dataclass(frozen=True)
class Family:
    """Texts that begin alike."""

    texts: list[Text]
    shared: int = 0
    """Leading ids that are fed once for all."""

    @property
    def tokens(self) -> int:
        """Ids that are fed."""
        return self.shared + sum(len(text.ids) - self.shared for text in self.texts)


def merged(texts: Iterable[Text]) -> Iterator[Text]:
    """One text for consecutive ones with the same ids: continuations that differ in their last token only."""
    held: Text | None = None
    for text in texts:
        if held and text.ids == held.ids and len(held.wanted) < MOST_TOGETHER:
            held.wanted.extend(text.wanted)
        else:
            if held:
                yield held
            held = text
    if held:
        yield held


def families(texts: Iterable[Text], rest: int) -> Iterator[Family]:
    """Consecutive texts with a long common prefix together.

    Args:
        texts: in order.
        rest: least ids of a text after the prefix.
    """
    held: Family | None = None
    for text in texts:
        shared = _shared(held, text, rest) if held else 0
        if held and shared:
            held = Family([*held.texts, text], shared)
        else:
            if held:
                yield held
            held = Family([text])
    if held:
        yield held


def _shared(family: Family, text: Text, rest: int) -> int:
    """Ids that ``text`` can share with ``family``; 0 where that is not worth it."""
    first = family.texts[0].ids
    longest = family.shared or len(first) - rest
    shared = min(longest, common_prefix(first, text.ids), len(text.ids) - rest)
    is_worth_it = shared >= max(SHARED_TOKENS, family.shared // 2)
    return shared if is_worth_it and len(family.texts) < MOST_TOGETHER else 0


def blocks(families: Iterable[Family]) -> Iterator[list[Family]]:
    """Consecutive families whose short texts may be sorted; one that is fed alone does not wait for others."""
    block, tokens = list[Family](), 0
    for family in families:
        if block and tokens + family.tokens > AHEAD_TOKENS:
            yield block
            block, tokens = [], 0
        block.append(family)
        tokens += family.tokens
        if len(block) == 1 and (family.shared or 2 * family.tokens > STEP_TOKENS):
            yield block
            block, tokens = [], 0
    if block:
        yield block


def batches(
    texts: Iterable[Text], shared: int, rows: int, long_step_from: int | None
) -> Iterator[list[Text]]:
    """Texts of about one length, to be fed in one step.

    Args:
        texts: of any length.
        shared: leading ids that are fed already.
        rows: most texts of a step.
        long_step_from: see `Session.long_step_from`; a batch is of shorter texts or of others.
    """
    batch, shortest_long = list[Text](), long_step_from or 0
    for text in sorted(texts, key=lambda text: len(text.ids)):
        length = len(text.ids) - shared
        is_full = len(batch) == rows or (len(batch) + 1) * length > STEP_TOKENS
        is_first_long = bool(batch) and len(batch[-1].ids) - shared < shortest_long <= length
        if batch and (is_full or is_first_long):
            yield batch
            batch = []
        batch.append(text)
    if batch:
        yield batch
