"""Prompt lookup drafts what followed the last tokens when they occurred before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2xl import GenerationOptions
from gpt2xl.decoding.drafting import LONGEST, SHORTEST, PromptLookup

CHAIN = GenerationOptions(greedy=True).chain(None)


def lookup(ids: list[int], count: int = 3) -> list[int]:
    return PromptLookup().draft(ids, count, CHAIN)


@pytest.mark.parametrize(
    ("ids", "draft"),
    [
        ([], []),
        ([1], []),
        ([1, 2], []),
        ([1, 2, 3, 4], []),
        ([1, 2, 9, 1, 2], [9, 1, 2]),
        ([1, 2, 8, 1, 2, 9, 1, 2], [9, 1, 2]),  # the last time counts
        ([5, 1, 2, 8, 6, 1, 2, 9, 5, 1, 2], [8, 6, 1]),  # a longer match counts more
        ([7, 7, 7], [7]),
        ([7, 7], []),
    ],
)
def test_the_continuation_of_an_earlier_ngram_is_drafted(ids: list[int], draft: list[int]) -> None:
    assert lookup(ids) == draft


def looked_up(ids: list[int], count: int) -> list[int]:
    """The same draft by a search of the whole text."""
    for size in range(LONGEST, SHORTEST - 1, -1):
        for end in range(len(ids) - 1, size - 1, -1):
            if ids[end - size : end] == ids[-size:]:
                return ids[end : end + count]
    return []


@given(st.lists(st.integers(0, 2), max_size=40), st.lists(st.integers(1, 5)), st.integers(1, 9))
def test_lookup_in_a_growing_text_equals_a_full_search(
    text: list[int], growth: list[int], count: int
) -> None:
    drafter, length = PromptLookup(), 0
    for more in growth:
        length += more
        ids = text[:length]
        assert drafter.draft(ids, count, CHAIN) == looked_up(ids, count)
