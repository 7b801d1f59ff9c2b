"""Ids in, logits of the last positions out, the KV cache kept between steps; knows nothing of text."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.sessions.device_engine import DeviceEngineSession
from gpt2xl.sessions.engine import EngineSession
from gpt2xl.sessions.logits import Ids, StepLogits, TopLogits
from gpt2xl.sessions.portable import PortableSession
from gpt2xl.sessions.signature import check_ports
from gpt2xl.startup.providers import Device, can_capture

BatchLogits = npt.NDArray[np.float32]  # [batch_size, vocab_size]
PROBE = 8  # tokens


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

    def reserve(self, capacity: int) -> None:
        """Make room for ``capacity`` tokens in each row at once, where there is none yet."""


class Session(Protocol):
    """One graph, loaded."""

    @property
    def n_positions(self) -> int:
        """Tokens a row can hold."""

    @property
    def has_int8_cache(self) -> bool:
        """Whether keys and values are kept in 8 bits."""

    @property
    def long_step_from(self) -> int:
        """Steps of so many tokens round in another way than shorter ones do; 1 where none does."""

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


def score_top(
    session: Session, input_ids: Ids, cache: Cache, top_k: int, keep: int = 1
) -> StepLogits | TopLogits:
    """As ``Session.score``; of one position only the ``top_k`` largest logits (0: all) where that is quicker."""
    if isinstance(session, DeviceEngineSession) and top_k and keep == 1:
        return session.top_logits(input_ids, cache, top_k)
    return session.score(input_ids, cache, keep)


def same_bits_alone(session: Session) -> bool:
    """Whether tokens fed together, in one row or as rows, give the bits that they give one by one.

    Where activations or the KV cache are quantized, one bit rounded the other way makes other texts, and
    some kernels (those of int4, for one) round a single row in a way of its own.
    """
    ids = np.arange(min(PROBE, session.n_positions), dtype=np.int64)[None]
    count = ids.shape[1]
    together = session.score(ids, session.new_cache(capacity=count), count)[0]
    cache = session.new_cache(capacity=count)
    singly = [session.score(ids[:, [at]], cache)[0, 0] for at in range(count)]
    rows = session.score(ids.T, session.new_cache(count, capacity=1))[:, -1]
    last = session.score(ids[:, -1:], session.new_cache(capacity=1))[0, -1]
    same_rows = np.array_equal(rows[[0, -1]], [singly[0], last])
    return same_rows and np.array_equal(together, singly)


def open_best(
    bundle: Bundle,
    device: Device,
    threads: int = 0,
    *,
    spinning: bool = True,
    exact_prompts: bool = False,
    cuda_graph: bool = False,
) -> Session:
    """The engine graph where the bundle has one, else the portable one; arguments as of `load`."""
    graph, n_positions = bundle.graph, bundle.config.n_positions
    if bundle.engine is None:
        portable = PortableSession(graph, n_positions, device, threads, spinning=spinning)
        check_ports(portable.ports, bundle.config, in_place=False)
        return portable
    if device == "cpu":
        session = EngineSession(graph, n_positions, device, threads, spinning=spinning)
    else:
        session = DeviceEngineSession(graph, n_positions, device, threads, cuda_graph=cuda_graph)
        session.cuda_graph = can_capture(session.session)
    check_ports(session.ports, bundle.config, in_place=True)
    session.exact_prompts = exact_prompts
    return session
