"""A context feeds only what its cache does not hold."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.fakes import FakeSession, told_by_all_ids

from gpt2xl.decoding.context import Context, common_prefix
from gpt2xl.sessions.cancellation import Cancellation, Cancelled
from gpt2xl.sessions.protocol import StepLogits

LOGITS_OF = told_by_all_ids(5)


def make() -> tuple[FakeSession, Context]:
    session = FakeSession(LOGITS_OF)
    return session, Context(session)


def logits_of(ids: list[int], keep: int = 1) -> StepLogits:
    return np.array([LOGITS_OF(ids[:end]) for end in range(len(ids) - keep + 1, len(ids) + 1)])


@pytest.mark.parametrize(
    ("first", "second", "fed"),
    [
        ([1, 2, 3], [1, 2, 3, 4], 1),
        ([1, 2, 3], [1, 2, 4, 5], 2),
        ([1, 2, 3], [1, 2, 3], 1),
        ([1, 2, 3], [1], 1),
        ([1, 2, 3], [4, 2, 3], 3),
    ],
)
def test_only_what_is_new_is_fed(first: list[int], second: list[int], fed: int) -> None:
    session, context = make()
    context.advance(first)
    assert np.array_equal(np.asarray(context.advance(second)), logits_of(second))
    assert session.fed_lengths == [len(first), fed]
    assert context.ids == second


def test_tokens_whose_logits_are_wanted_are_fed_again() -> None:
    session, context = make()
    context.advance([1, 2, 3, 4])
    found = np.asarray(context.advance([1, 2, 3, 4], 3))
    assert np.array_equal(found, logits_of([1, 2, 3, 4], 3))
    assert session.fed_lengths == [4, 3]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), max_size=8), st.data())
def test_any_texts_one_after_the_other(texts: list[list[int]], data: st.DataObject) -> None:
    session, context = make()
    for text in texts:
        keep = data.draw(st.integers(1, len(text)))
        known = min(common_prefix(context.ids, text), len(text) - keep)
        assert np.array_equal(np.asarray(context.advance(text, keep)), logits_of(text, keep))
        assert session.fed_lengths[-1] == len(text) - known


def test_a_session_that_fails_leaves_no_wrong_ids() -> None:
    def fails_on_9(ids: object) -> object:
        if 9 in ids:  # type: ignore[operator]
            raise ArithmeticError
        return LOGITS_OF(ids)  # type: ignore[arg-type]

    context = Context(FakeSession(fails_on_9))  # type: ignore[arg-type]
    context.advance([1, 2, 3])
    with pytest.raises(ArithmeticError):
        context.advance([1, 2, 9])
    assert context.ids == [1, 2]
    assert np.array_equal(np.asarray(context.advance([1, 2, 3])), logits_of([1, 2, 3]))


def test_a_cancelled_context_holds_what_it_held() -> None:
    cancellation = Cancellation()
    session = FakeSession(LOGITS_OF)
    context = Context(session, cancellation)
    context.advance([1, 2])
    cancellation.cancel()
    with pytest.raises(Cancelled):
        context.advance([1, 2, 3])
    assert context.ids == [1, 2]


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_a_common_prefix_is_common_and_the_longest(first: list[int], second: list[int]) -> None:
    length = common_prefix(first, second)
    assert first[:length] == second[:length]
    assert first[length : length + 1] != second[length : length + 1] or (
        length == len(first) == len(second)
    )
