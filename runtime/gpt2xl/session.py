"""Ids in, logits of the last positions out, the KV cache kept between steps; knows nothing of text."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gpt2xl.bundle import Bundle
from gpt2xl.engine import EngineSession
from gpt2xl.graph import Ids, StepLogits
from gpt2xl.portable import PortableSession
from gpt2xl.providers import Device
from gpt2xl.session_cache import Entry

BatchLogits = npt.NDArray[np.float32]  # [batch_size, vocab_size]


class Cache(Protocol):
    """Keys and values of the tokens seen so far, one row a sequence."""

    @property
    def length(self) -> int:
        """Tokens in the longest row."""

    @property
    def keys_and_values(self) -> list[npt.NDArray[np.generic]]:
        """Those in use, [rows, n_head, length, head_dim] for each layer's key and value."""

    def fill(self, values: Sequence[npt.NDArray[np.generic]]) -> None:
        """Hold ``values``, as ``keys_and_values`` gives them; ValueError when they do not fit."""

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` tokens of every row."""


class Session(Protocol):
    """One graph, loaded."""

    @property
    def n_positions(self) -> int:
        """Tokens a row can hold."""

    def new_cache(self, batch_size: int = 1, capacity: int | None = None) -> Cache:
        """An empty cache.

        Args:
            batch_size: its rows.
            capacity: tokens a row will need, as far as known; n_positions at most.
        """

    def score(self, input_ids: Ids, cache: Cache, keep: int = 1) -> StepLogits:
        """Feed ``input_ids`` after what ``cache`` holds; logits of each row's last ``keep`` positions.

        The cache grows by ``sequence_length``; the caller keeps it within n_positions.
        """


def last_logits(session: Session, input_ids: Ids, cache: Cache) -> BatchLogits:
    """As ``Session.score``, of the last position: [batch_size, vocab_size]."""
    return session.score(input_ids, cache)[:, -1]


def open_best(
    bundle: Bundle, device: Device, threads: int = 0, entry: Entry | None = None
) -> Session:
    """The engine graph where the bundle has one, else the portable one; maybe a saved session."""
    kind = PortableSession if bundle.engine is None else EngineSession
    return kind(bundle.graph, bundle.config.n_positions, device, threads, entry)
