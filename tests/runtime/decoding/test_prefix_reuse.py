"""What a prompt has in common with the last text is not fed again, and changes nothing."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.runtime.fakes import FakeSession, told_by_all_ids

from gpt2xl import Model
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.prefix_reuse import PrefixReuse

IDS = list(range(40))


def make(
    long_step_from: int | None = None, *, exact: bool = True
) -> tuple[FakeSession, PrefixReuse]:
    session = FakeSession(told_by_all_ids(5), long_step_from=long_step_from)
    return session, PrefixReuse(session, lambda: exact)


def write(reuse: PrefixReuse, prompt: list[int], text: list[int] | None = None) -> None:
    """A text that starts with ``prompt``."""
    context = reuse.take(prompt)
    context.advance(prompt)
    if text:
        context.advance(text)
    reuse.give_back(context)


@pytest.mark.parametrize(
    ("first", "second", "fed"),
    [
        (20, 20, 9),  # at least a long step
        (20, 40, 20),  # all of the first prompt is kept
        (20, 25, 9),
        (20, 8, 8),  # short steps, all of it
        (8, 20, 20),
        (20, 9, 9),
    ],
)
def test_only_long_steps_are_reused_for_long_steps(first: int, second: int, fed: int) -> None:
    session, reuse = make(long_step_from=9)
    write(reuse, IDS[:first], IDS[: first + 1])
    write(reuse, IDS[:second])
    assert session.fed_lengths == [first, 1, fed]


def test_where_all_steps_round_alike_generated_tokens_are_reused() -> None:
    session, reuse = make()
    for length in (20, 21, 30):
        write(reuse, IDS[:length])
    assert session.fed_lengths == [20, 1, 9]


def test_nothing_is_reused_where_merged_steps_change_texts() -> None:
    session, reuse = make(exact=False)
    write(reuse, IDS[:20])
    write(reuse, IDS[:30])
    assert session.fed_lengths == [20, 30]


def loaded(session: FakeSession, length: int) -> Context:
    context = Context(session)
    context.advance(IDS[:length])
    return context


@pytest.mark.parametrize("exact", [True, False])
def test_a_loaded_prompt_is_reused_in_any_case(exact: bool) -> None:
    session, reuse = make(9, exact=exact)
    reuse.load(loaded(session, 20))
    write(reuse, IDS[:22])
    assert session.fed_lengths == [20, 2]


def test_after_a_text_that_began_with_a_loaded_prompt_nothing_is_reused_for_long_steps() -> None:
    session, reuse = make(9)
    reuse.load(loaded(session, 20))
    write(reuse, IDS[:22])  # the rest was fed in a short step
    write(reuse, IDS[:40])
    assert session.fed_lengths == [20, 2, 40]


def test_a_second_text_at_the_same_time_gets_a_cache_of_its_own() -> None:
    _, reuse = make()
    write(reuse, IDS[:20])
    first, second = reuse.take(IDS[:20]), reuse.take(IDS[:20])
    assert first.cache is not second.cache
    assert (len(first.ids), len(second.ids)) == (20, 0)


def test_the_next_text_allocates_no_second_cache() -> None:
    session, reuse = make()
    write(reuse, IDS[:20])
    kept = reuse.take([1])
    reuse.give_back(kept)
    session.new_cache = None  # type: ignore[assignment,method-assign]  # a call would fail
    assert reuse.take(IDS[:5]).cache is kept.cache


def test_clearing_forgets() -> None:
    session, reuse = make()
    write(reuse, IDS[:20])
    reuse.clear()
    write(reuse, IDS[:20])
    assert session.fed_lengths == [20, 20]


def test_exactness_is_only_asked_where_something_could_be_reused() -> None:
    def never() -> bool:
        raise AssertionError

    reuse = PrefixReuse(FakeSession(told_by_all_ids(5)), never)
    write(reuse, [1, 2, 3])
    write(reuse, [4, 5, 6])


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-weight", "int4"])
def test_the_text_before_changes_no_text(demo: Callable[[str], Model], precision: str) -> None:
    model = demo(precision)
    options: dict[str, Any] = {"max_new_tokens": 40, "prompt_lookup": False}
    for seed in range(6):
        prompt = "Once upon a time there was a king"[: 20 + seed]
        model.clear_cache()
        first = model.generate(prompt, seed=seed, **options)
        assert model.generate(prompt, seed=seed, **options).new_ids == first.new_ids
        longer = prompt + first.text
        going_on = model.generate(longer, seed=seed, **options).new_ids
        model.clear_cache()
        assert model.generate(longer, seed=seed, **options).new_ids == going_on


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_memory_of_a_cache_is_allocated_once_and_stays(
    demo: Callable[[str], Model], precision: str
) -> None:
    reuse = PrefixReuse(demo(precision).session, lambda: True)
    context = reuse.take([1, 2, 3, 4], 99)
    cache: Any = context.cache
    assert cache.capacity == 128
    context.advance([1, 2, 3, 4])
    memory = cache.keys_and_values[0].base
    reuse.give_back(context)
    again: Any = reuse.take([5, 6, 7], 90)
    assert again.cache is cache
    again.advance([5, 6, 7])
    assert cache.capacity == 128
    assert cache.keys_and_values[0].base is memory
