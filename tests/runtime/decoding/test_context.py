"""What a text has in common with the last one is not fed again, and changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2xl import Model
from gpt2xl.decoding.context import Context, common_prefix
from gpt2xl.sessions.exactness import steps_are_bitwise_equal
from gpt2xl.sessions.logits import Ids, StepLogits
from gpt2xl.startup.providers import Device


@dataclass
class FakeCache:
    """Holds the ids themselves, row by row."""

    texts: list[list[int]]

    @property
    def length(self) -> int:
        return max(map(len, self.texts))

    @property
    def keys_and_values(self) -> list[Any]:
        raise AssertionError

    def fill(self, values: Any) -> None:
        raise AssertionError

    def truncate(self, length: int) -> None:
        self.texts = [row[:length] for row in self.texts]

    def reserve(self, capacity: int) -> None:
        """Any number fits."""

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.array([self.length])

    def rows(self, start: int, stop: int) -> "FakeCache":
        raise AssertionError

    def copy_row(self, source: int, target: int) -> None:
        raise AssertionError


@dataclass
class FakeSession:
    """Logits that tell all the ids before them; ``noise`` for each one fed along with others."""

    noise: float = 0.0
    n_positions: int = 64
    long_step_from: int = 1
    has_int8_cache: bool = False
    vocab_size: int = 2
    device: Device = "cpu"
    prefill_chunk: int = 256
    shares_steps: bool = False
    fed: list[int] = field(default_factory=list)

    def new_cache(self, rows: int = 1, capacity: int | None = None) -> FakeCache:
        return FakeCache([[] for _ in range(rows)])

    def forward(
        self, input_ids: Ids, cache: Any, *, keep: int = 1, cancel: Any = None
    ) -> StepLogits:
        self.fed.append(input_ids.shape[1])
        found = []
        for row, ids in zip(cache.texts, input_ids.tolist(), strict=True):
            ends = range(len(row) + 1, len(row) + len(ids) + 1)
            row += ids
            found.append([[sum((i + 1) * v for i, v in enumerate(row[:e])), e] for e in ends])
        together = self.noise * (input_ids.size > 1)
        return (np.array(found, np.float32) + np.float32(together))[:, -keep:]

    def forward_top(
        self, input_ids: Ids, cache: Any, top_k: int, *, cancel: Any = None
    ) -> StepLogits:
        return self.forward(input_ids, cache)

    def last_hidden_state(self, input_ids: Ids, cache: Any) -> Any:
        raise AssertionError


def logits_of(ids: list[int], keep: int = 1) -> StepLogits:
    """By a session of their own."""
    session = FakeSession()
    logits: StepLogits = session.forward(np.array([ids]), session.new_cache(), keep=keep)[0]
    return logits


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
    session = FakeSession()
    context: Any = Context(session)
    context.advance(first)
    assert np.array_equal(context.advance(second), logits_of(second))
    assert session.fed == [len(first), fed]
    assert context.ids == second


def test_logits_that_are_wanted_are_fed_again() -> None:
    session = FakeSession()
    context: Any = Context(session)
    context.advance([1, 2, 3, 4])
    assert np.array_equal(context.advance([1, 2, 3, 4], 3), logits_of([1, 2, 3, 4], 3))
    assert session.fed == [4, 3]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), max_size=8), st.data())
def test_any_texts_one_after_the_other(texts: list[list[int]], data: st.DataObject) -> None:
    session = FakeSession()
    context: Any = Context(session)
    for text in texts:
        keep = data.draw(st.integers(1, len(text)))
        known = min(common_prefix(context.ids, text), len(text) - keep)
        assert np.array_equal(context.advance(text, keep), logits_of(text, keep))
        assert session.fed[-1] == len(text) - known


def test_a_session_that_fails_leaves_no_wrong_ids() -> None:
    session = FakeSession()
    context: Any = Context(session)
    context.advance([1, 2, 3])
    with pytest.raises(TypeError):
        context.advance([1, 2, None])  # what fails in the session
    assert np.array_equal(context.advance([1, 2, 3]), logits_of([1, 2, 3]))


@given(st.lists(st.integers(0, 2)), st.lists(st.integers(0, 2)))
def test_a_common_prefix_is_common_and_the_longest(first: list[int], second: list[int]) -> None:
    length = common_prefix(first, second)
    assert first[:length] == second[:length]
    assert first[length : length + 1] != second[length : length + 1] or (
        length == len(first) == len(second)
    )


def test_kernels_that_round_a_single_token_otherwise_are_found_out() -> None:
    assert steps_are_bitwise_equal(FakeSession())
    assert not steps_are_bitwise_equal(FakeSession(noise=1e-3))
    assert steps_are_bitwise_equal(FakeSession(n_positions=1))


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-weight", "int4"])
def test_the_text_before_changes_no_text(demo: Callable[[str], Model], precision: str) -> None:
    model = demo(precision)
    options: dict[str, Any] = {"max_new_tokens": 40, "prompt_lookup": False}
    for seed in range(6):
        prompt = "Once upon a time there was a king"[: 20 + seed]
        model._idle = None
        first = model.generate(prompt, seed=seed, **options)
        assert model.generate(prompt, seed=seed, **options).new_ids == first.new_ids
        longer = prompt + first.text
        going_on = model.generate(longer, seed=seed, **options).new_ids
        model._idle = None
        assert model.generate(longer, seed=seed, **options).new_ids == going_on


@pytest.mark.parametrize(
    ("first", "second", "fed"),
    [
        (20, 20, 9),  # at least a long step
        (20, 40, 20),  # all that was the first prompt stays
        (20, 25, 9),
        (20, 8, 8),  # short steps, all of it
        (8, 20, 20),
        (20, 9, 9),
    ],
)
def test_of_a_text_before_only_long_steps_stay_for_long_steps(
    first: int, second: int, fed: int
) -> None:
    session = FakeSession(long_step_from=9)
    context, ids = Context(session), list(range(40))
    context.begin(ids[:first])
    context.advance(ids[:first])
    context.advance(ids[: first + 1])  # as if it had been generated
    context.begin(ids[:second])
    context.advance(ids[:second])
    assert session.fed == [first, 1, fed]


def test_of_a_text_that_began_with_a_restored_one_nothing_stays_for_long_steps() -> None:
    session = FakeSession(long_step_from=9)
    context, ids = Context(session), list(range(40))
    context.advance(ids[:20])
    context.is_loaded = True
    context.begin(ids[:22])
    context.advance(ids[:22])  # a short step
    context.is_loaded = False
    context.begin(ids[:40])
    context.advance(ids[:40])
    assert session.fed == [20, 2, 40]


def test_where_all_steps_round_alike_what_was_generated_stays() -> None:
    session = FakeSession()
    context, ids = Context(session), list(range(40))
    for length in (20, 21, 30):
        context.begin(ids[:length])
        context.advance(ids[:length])
    assert session.fed == [20, 1, 9]


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_memory_of_a_cache_is_sized_once_and_stays(
    demo: Callable[[str], Model], precision: str
) -> None:
    model = demo(precision)
    context: Any = Context(model.session)
    context.begin([1, 2, 3, 4], 99)
    assert context.cache.capacity == 128
    model._idle = None
    model.generate("Once upon a time", max_new_tokens=100, seed=0)
    assert model._idle
    cache: Any = model._idle.cache
    assert cache.capacity == 128
    memory = cache._buffers[0]
    model.generate("Far away, there was a king", max_new_tokens=90, seed=0)
    assert model._idle.cache is cache
    assert cache._buffers[0] is memory
