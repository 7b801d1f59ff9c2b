"""What the rest of the runtime knows of a loaded graph: token ids in, logits out, a KV cache between steps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import EllipsisType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.startup.providers import Device

Ids = npt.NDArray[np.int64]  # [rows, n]
Logits = npt.NDArray[np.float32]  # [vocab_size]
PositionLogits = npt.NDArray[np.float32]  # [keep, vocab_size]
StepLogits = npt.NDArray[np.float32]  # [rows, keep, vocab_size]
HiddenState = npt.NDArray[np.float32]  # [rows, n, n_embd]
Index = int | slice | EllipsisType | npt.NDArray[np.integer]
Lengths = npt.NDArray[np.int64]  # [rows]
KeysAndValues = Sequence[npt.NDArray[np.generic]]


@dataclass(frozen=True)
class TopLogits:
    """The k largest logits of each position, so that a GPU need not hand over the whole vocabulary.

    Indexed and iterated as an array of positions.
    """

    logits: npt.NDArray[np.float32]
    """[..., k], sorted by id within a position."""
    ids: npt.NDArray[np.int64]
    """[..., k]."""

    def __getitem__(self, positions: Index | tuple[Index, ...]) -> "TopLogits":
        return TopLogits(self.logits[positions], self.ids[positions])

    def __iter__(self) -> Iterator["TopLogits"]:
        return map(self.__getitem__, range(len(self.logits)))


class Cache(Protocol):
    """Keys and values of the tokens fed so far, a row for each text."""

    @property
    def lengths(self) -> Lengths:
        """Tokens that each row holds, [rows]."""

    @property
    def length(self) -> int:
        """Tokens that the longest row holds."""

    @property
    def keys_and_values(self) -> KeysAndValues:
        """For each layer the key, then the value, [rows, n_head, length, head_dim] each."""

    def fill(self, values: KeysAndValues) -> None:
        """Replace the content by ``values``, laid out as `keys_and_values`.

        Raises:
            ValueError: they have another shape or type.
        """

    def truncate(self, length: int) -> None:
        """Keep at most the first ``length`` tokens of every row."""

    def reserve(self, capacity: int) -> None:
        """Allocate memory for ``capacity`` tokens a row, if it is not there yet.

        Views made by `rows` before are invalid afterwards.
        """

    def rows(self, start: int, stop: int) -> "Cache":
        """A view of the rows from ``start`` to before ``stop``: it shares their memory and lengths."""

    def copy_row(self, source: int, target: int) -> None:
        """Make row ``target`` a copy of row ``source``."""

    def reorder(self, sources: Sequence[int], shared: int = 0) -> None:
        """Make each row a copy of another: row i becomes what row ``sources[i]`` was before the call.

        Args:
            sources: for each row the index of its source.
            shared: where a row and its source hold the same tokens at the first positions, how many: they need
                not be copied.
        """


class Session(Protocol):
    """A loaded graph; several threads may use it at once, each with caches of its own."""

    @property
    def n_positions(self) -> int:
        """Most tokens that a row can hold."""

    @property
    def vocab_size(self) -> int:
        """Logits of one position."""

    @property
    def device(self) -> Device:
        """Where the graph runs."""

    @property
    def has_int8_cache(self) -> bool:
        """Whether keys and values are kept in 8 bits."""

    @property
    def has_two_precisions(self) -> bool:
        """Whether short steps multiply with 4-bit weights and long ones with 8-bit weights.

        Steps of a cache that was made for several rows, and of its views, then all take 8 bits.
        """

    @property
    def long_step_from(self) -> int | None:
        """Steps of at least this many tokens round differently from shorter ones; None where all round alike.

        These long steps feed rows of one length together; other steps after a past feed several rows token by token.
        """

    @property
    def prefill_chunk(self) -> int:
        """Most tokens of a prompt that `forward` feeds in one run."""

    @property
    def shares_steps(self) -> bool:
        """Whether the graph can compute rows of different lengths in one step; `Exactness` says whether that is exact."""

    def new_cache(self, rows: int = 1, capacity: int | None = None) -> Cache:
        """An empty cache.

        Args:
            rows: how many texts it holds.
            capacity: tokens a row to allocate memory for at first; None for n_positions.

        Raises:
            RequestError: the device has no memory for so many rows.
        """

    def forward(
        self, input_ids: Ids, cache: Cache, *, keep: int = 1, cancel: Cancellation | None = None
    ) -> StepLogits:
        """Feed ``input_ids`` after what ``cache`` holds.

        Args:
            input_ids: [rows, n]; each row of the cache grows by n, and may not exceed n_positions.
            cache: from `new_cache` of this session.
            keep: positions at the end of ``input_ids`` whose logits are wanted.
            cancel: ends the call from another thread.

        Returns:
            Logits, [rows, keep, vocab_size].

        Raises:
            BundleError: onnxruntime fails, or the logits are not numbers. The cache is as before the call.
            Cancelled: by ``cancel``. The cache is as before the call.
        """

    def forward_top(
        self,
        input_ids: Ids,
        cache: Cache,
        needed_logits: int,
        *,
        cancel: Cancellation | None = None,
    ) -> StepLogits | TopLogits:
        """Feed as `forward` does with ``keep=1``, but only the ``needed_logits`` largest logits where that is faster.

        Args:
            input_ids: as of `forward`.
            cache: as of `forward`.
            needed_logits: how many of the largest logits suffice; 0 for all.
            cancel: as of `forward`.

        Returns:
            All logits, [rows, 1, vocab_size], or the largest, [rows, 1, needed_logits].
        """

    def last_hidden_state(
        self, input_ids: Ids, cache: Cache, *, cancel: Cancellation | None = None
    ) -> HiddenState:
        """Feed ``input_ids`` as `forward` does; the activations after the final layer norm.

        Returns:
            [rows, n, n_embd].

        Raises:
            RequestError: the graph has no such output.
        """

    def logits_and_hidden_state(
        self, input_ids: Ids, cache: Cache, *, cancel: Cancellation | None = None
    ) -> tuple[StepLogits, HiddenState]:
        """Feed one token a row in one run; what `forward` and what `last_hidden_state` return.

        Args:
            input_ids: [rows, 1].
            cache: as of `forward`.
            cancel: as of `forward`.

        Returns:
            Logits, [rows, 1, vocab_size], and activations, [rows, 1, n_embd].

        Raises:
            RequestError: the graph has no output for the activations.
        """
