"""What ends a text beside its length: ids, a function, time, a loop."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.runtime.decoding.playback import CONTEXT, EOS, model

from gpt2xl import Model, RequestError, Tokenizer
from gpt2xl.text.endings import LEAST_LOOPED, LONGEST_LOOP, loops


@pytest.fixture
def tokenizer(checkpoint: Path) -> Tokenizer:
    return Tokenizer.from_file(checkpoint / "tokenizer.json")


def new_ids(made: Model, **options: Any) -> tuple[list[int], str]:
    """By a greedy stream, and the same by a batch."""
    result = made.generate([5], greedy=True, **options)
    for _, row in made.generate_batch([[5]], rows=1, greedy=True, **options):
        assert (row.new_ids, row.finish_reason) == (result.new_ids, result.finish_reason)
    return result.new_ids, result.finish_reason


def test_stop_ids_end_a_text_beside_the_models_own(tokenizer: Tokenizer) -> None:
    assert new_ids(model(tokenizer, [3, 7, 8]), stop_token_ids=(8, 9)) == ([3, 7], "stop")
    assert new_ids(model(tokenizer, [3, EOS, 8]), stop_token_ids=(8, 9)) == ([3], "stop")


@pytest.mark.parametrize("own", [7, (7, 9)])
def test_an_eos_token_id_replaces_the_models_own(tokenizer: Tokenizer, own: Any) -> None:
    script = [3, EOS, 4, 7]
    assert new_ids(model(tokenizer, script), eos_token_id=own) == ([3, EOS, 4], "stop")


def test_an_ignored_end_of_text_is_never_chosen(tokenizer: Tokenizer) -> None:
    found, reason = new_ids(model(tokenizer, [3, EOS]), ignore_eos=True, max_new_tokens=6)
    assert (len(found), reason) == (6, "length")
    assert EOS not in found
    assert new_ids(model(tokenizer, [3, EOS, 8]), ignore_eos=True, stop_token_ids=(8,)) == (
        [3, 0],
        "stop",
    )


def test_a_text_is_not_shorter_than_asked_for(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, [EOS])
    assert new_ids(made, min_new_tokens=4)[0] == [0, 0, 0, 0]
    assert new_ids(made, min_length=4)[0] == [0, 0, 0]  # counts the prompt's token
    assert new_ids(made, min_new_tokens=4, stop_token_ids=(0,))[0] == [1, 1, 1, 1]


def test_max_length_counts_the_prompt(tokenizer: Tokenizer) -> None:
    made = model(tokenizer, [3])
    assert new_ids(made, max_length=5) == ([3] * 4, "length")
    assert new_ids(made, max_length=5, max_new_tokens=6) == ([3] * 6, "length")  # as transformers
    assert len(new_ids(made, max_length=10**6)[0]) == CONTEXT
    with pytest.raises(RequestError, match="max_length is 2, but the prompt alone has 2 tokens"):
        made.generate([5, 6], max_length=2)


def test_128_new_tokens_are_the_default(demo: Callable[[str], Model]) -> None:
    result = demo("fp32").generate("One day", ignore_eos=True, seed=1)
    assert (len(result.new_ids), result.finish_reason) == (128, "length")


def test_a_function_ends_a_text_and_sees_all_ids(tokenizer: Tokenizer) -> None:
    seen: list[list[int]] = []

    def stopping(ids: Sequence[int]) -> bool:
        seen.append(list(ids))
        return len(ids) == 4

    result = model(tokenizer, [3, 4]).generate([5], greedy=True, stopping=stopping)
    assert (result.new_ids, result.finish_reason, result.stop_string) == ([3, 4, 3], "stop", None)
    assert seen == [[5, 3], [5, 3, 4], [5, 3, 4, 3]]


@pytest.mark.parametrize("rows", [None, 2])
def test_a_function_sees_no_draft_tokens(
    demo: Callable[[str], Model], tales: list[str], rows: int | None
) -> None:
    made = demo("fp32")
    whole = made.generate(tales[3], greedy=True, max_new_tokens=60)
    seen: list[list[int]] = []

    def stopping(ids: Sequence[int]) -> bool:
        seen.append(list(ids[len(whole.prompt_ids) :]))
        return len(seen) == 45

    if rows:
        options = {"greedy": True, "max_new_tokens": 60, "stopping": stopping}
        ((_, result),) = made.generate_batch([tales[3]], rows=rows, **options)  # type: ignore[arg-type]
    else:
        result = made.generate(
            tales[3], greedy=True, max_new_tokens=60, stopping=stopping, draft=demo("draft")
        )
    assert result.new_ids == whole.new_ids[:45]
    assert seen == [whole.new_ids[: n + 1] for n in range(45)]


def test_max_time_ends_a_text(tokenizer: Tokenizer) -> None:
    def slow(ids: Sequence[int], logits: Any) -> Any:
        time.sleep(0.02)
        return logits

    made = model(tokenizer, [3])
    assert new_ids(made, max_time=0) == ([3], "time")
    found, reason = new_ids(made, max_time=1000.0, max_new_tokens=3)
    assert (found, reason) == ([3] * 3, "length")
    result = made.generate([5], greedy=True, max_time=0.05, processors=(slow,))
    assert result.finish_reason == "time"
    assert 1 <= len(result.new_ids) <= 3


def test_a_loop_ends_a_text(demo: Callable[[str], Model]) -> None:
    """With one possible token."""
    made, options = demo("fp32"), {"allowed_token_ids": (300,), "ignore_eos": True}
    for count, length in ((16, 16), (20, 20), (3, 18)):
        options["repetition_detection"] = count
        assert new_ids(made, **options) == ([300] * length, "repetition")
    assert new_ids(made, **options | {"repetition_detection": 0})[1] == "length"
    with pytest.raises(RequestError, match=r"repetition_detection has to be 0 \(never\) or >= 2"):
        made.generate([5], repetition_detection=1)


@given(
    before=st.lists(st.integers(0, 2), max_size=20),
    unit=st.lists(st.integers(0, 2), min_size=1, max_size=12),
    times=st.integers(0, 5),
    count=st.integers(2, 5),
)
def test_loops_are_those_of_a_search_by_the_definition(
    before: list[int], unit: list[int], times: int, count: int
) -> None:
    ids = before + unit * times
    wanted = any(
        len(ids) >= size * count >= LEAST_LOOPED and ids[-size * count :] == ids[-size:] * count
        for size in range(1, LONGEST_LOOP + 1)
    )
    assert loops(ids, count) == wanted


def test_only_loops_of_a_limited_length_are_looked_for() -> None:
    unit = list(range(LONGEST_LOOP))
    assert loops(unit * 2, 2)
    assert not loops([*unit, LONGEST_LOOP] * 2, 2)
