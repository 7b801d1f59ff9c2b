"""A session without a graph: its logits are a function of the ids so far."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from gpt2xl.sessions.cancellation import Cancellation, Cancelled
from gpt2xl.sessions.protocol import Cache, HiddenState, Ids, StepLogits, TopLogits

LogitsOf = Callable[[Sequence[int]], Sequence[float] | npt.NDArray[np.float32]]


class FakeCache:
    """Holds the ids themselves; views share the lists."""

    def __init__(self, texts: list[list[int]]) -> None:
        self.texts = texts

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        return np.array([len(text) for text in self.texts], np.int64)

    @property
    def length(self) -> int:
        return int(self.lengths.max())

    @property
    def keys_and_values(self) -> Sequence[npt.NDArray[np.generic]]:
        (text,) = self.texts
        return [np.array(text, np.int64).reshape(1, 1, -1, 1)]

    def fill(self, values: Sequence[npt.NDArray[np.generic]]) -> None:
        (text,) = self.texts
        text[:] = values[0].ravel().tolist()

    def truncate(self, length: int) -> None:
        for text in self.texts:
            del text[length:]

    def reserve(self, capacity: int) -> None:
        """There is room for any number."""

    def rows(self, start: int, stop: int) -> "FakeCache":
        return FakeCache(self.texts[start:stop])

    def copy_row(self, source: int, target: int) -> None:
        self.texts[target][:] = self.texts[source]

    def reorder(self, sources: Sequence[int], shared: int = 0) -> None:
        before = [list(text) for text in self.texts]
        for text, source in zip(self.texts, sources, strict=True):
            assert text[:shared] == before[source][:shared]
            text[:] = before[source]


@dataclass(eq=False)
class FakeSession:
    """``logits_of`` gives the logits after some ids."""

    logits_of: LogitsOf
    n_positions: int = 256
    vocab_size: int = 0
    device: Literal["cpu", "cuda"] = "cpu"
    has_int8_cache: bool = False
    has_two_precisions: bool = False
    long_step_from: int | None = None
    prefill_chunk: int = 256
    shares_steps: bool = True
    fed: list[list[list[int]]] = field(default_factory=list)
    """The rows of every step."""

    @property
    def fed_lengths(self) -> list[int]:
        """Tokens that each step fed to each of its rows."""
        return [len(rows[0]) for rows in self.fed]

    def new_cache(self, rows: int = 1, capacity: int | None = None) -> FakeCache:
        return FakeCache([[] for _ in range(rows)])

    def forward(
        self, input_ids: Ids, cache: Cache, *, keep: int = 1, cancel: Cancellation | None = None
    ) -> StepLogits:
        assert isinstance(cache, FakeCache)
        assert input_ids.dtype == np.int64
        if cancel and cancel.is_cancelled:
            raise Cancelled
        self.fed.append(input_ids.tolist())
        found = []
        for text, new in zip(cache.texts, input_ids.tolist(), strict=True):
            text += new
            assert len(text) <= self.n_positions, "more tokens than the context holds"
            ends = range(len(text) - keep + 1, len(text) + 1)
            found.append([self.logits_of(text[:end]) for end in ends])
        return np.array(found, np.float32)

    def forward_top(
        self,
        input_ids: Ids,
        cache: Cache,
        needed_logits: int,
        *,
        cancel: Cancellation | None = None,
    ) -> StepLogits | TopLogits:
        return self.forward(input_ids, cache, cancel=cancel)

    def last_hidden_state(
        self, input_ids: Ids, cache: Cache, *, cancel: Cancellation | None = None
    ) -> HiddenState:
        raise AssertionError

    def logits_and_hidden_state(
        self, input_ids: Ids, cache: Cache, *, cancel: Cancellation | None = None
    ) -> tuple[StepLogits, HiddenState]:
        raise AssertionError


def scripted(script: Sequence[int], vocab_size: int, prompt_length: int) -> LogitsOf:
    """The i-th token after a prompt is ``script[i]``, over and over."""

    def logits_of(ids: Sequence[int]) -> npt.NDArray[np.float32]:
        logits = np.zeros(vocab_size, np.float32)
        logits[script[(len(ids) - prompt_length) % len(script)]] = 9
        return logits

    return logits_of


def told_by_all_ids(vocab_size: int) -> LogitsOf:
    """Logits that any change of the ids before changes."""

    def logits_of(ids: Sequence[int]) -> npt.NDArray[np.float32]:
        seed = [len(ids), *ids]
        return np.random.default_rng(seed).normal(0, 2, vocab_size).astype(np.float32)

    return logits_of
