"""Prompt lookup drafts what followed the last tokens when they occurred before."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.chains import chain_of
from tests.runtime.fakes import FakeSession

from gpt2xl import GenerationOptions
from gpt2xl.decoding.drafting import LONGEST, SHORTEST, DraftModel, PromptLookup

CHAIN = chain_of(GenerationOptions(greedy=True), None)


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


class Uncopyable:
    """A sampler and a processor that cannot be copied, as one that holds a lock or a generator."""

    calls = 0

    def __deepcopy__(self, memo: object) -> "Uncopyable":
        raise TypeError("cannot be copied")

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return int(arguments[0].argmax()) if len(arguments) == 1 else arguments[1]


def test_a_draft_model_leaves_the_users_functions_alone() -> None:
    session = FakeSession(lambda ids: [0, 1, 2, ids[-1] == 3], vocab_size=4)
    sampler, processor = Uncopyable(), Uncopyable()
    for options in (
        GenerationOptions(sampler=sampler, repetition_penalty=2.0),
        GenerationOptions(processors=(processor,), top_k=1),
    ):
        assert DraftModel(session).draft([0], 2, chain_of(options, 1)) in ([2, 1], [2, 2])
    assert (sampler.calls, processor.calls) == (0, 0)
