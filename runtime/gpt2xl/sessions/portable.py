"""The portable graph, which returns a longer copy of the cache at each step; anybody's export will do."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gpt2xl.sessions.base import Graph, check_fit, chunks, on_cpu
from gpt2xl.sessions.logits import Ids, StepLogits


class PortableCache:
    """The present tensors of the last step."""

    def __init__(self, graph: Graph, rows: int) -> None:
        self.values = [on_cpu(graph.empty_past(name, rows, 0)) for name in graph.past]
        self._n_positions = graph.n_positions

    @property
    def length(self) -> int:
        """Tokens in each row."""
        return int(self.values[0].shape()[2])

    @property
    def keys_and_values(self) -> list[npt.NDArray[np.generic]]:
        """[rows, n_head, length, head_dim] for each layer's key and value."""
        return [value.numpy() for value in self.values]

    def fill(self, values: Sequence[npt.NDArray[np.generic]]) -> None:
        """Hold ``values``, as ``keys_and_values`` gives them; ValueError when they do not fit."""
        check_fit(values, self.keys_and_values, self._n_positions)
        self.values = [on_cpu(np.ascontiguousarray(value)) for value in values]

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` tokens of every row."""
        if length < self.length:
            cut = [np.ascontiguousarray(v[:, :, :length]) for v in self.keys_and_values]
            self.values = [on_cpu(values) for values in cut]

    def reserve(self, capacity: int) -> None:
        """Nothing to do: it is made anew with every step."""


class PortableSession(Graph):
    """See the module."""

    long_step_from = 1

    def new_cache(self, batch_size: int = 1, capacity: int | None = None) -> PortableCache:
        """See ``Session.new_cache``."""
        del capacity  # it grows with every step
        return PortableCache(self, batch_size)

    def score(self, input_ids: Ids, cache: Any, keep: int = 1) -> StepLogits:
        """See ``Session.score``."""
        assert isinstance(cache, PortableCache)
        kept = [self._run(part, cache)[:, -keep:] for part in chunks(input_ids, self.prefill_chunk)]
        logits = np.concatenate(kept, 1)[:, -keep:].astype(np.float32, copy=False)
        self.check_logits(logits)
        return logits

    def _run(self, input_ids: Ids, cache: PortableCache) -> npt.NDArray[np.floating[Any]]:
        lengths = np.full(len(input_ids), cache.length, np.int64)
        feed = {name: on_cpu(v) for name, v in self.step_inputs(input_ids, lengths).items()}
        feed |= dict(zip(self.past, cache.values, strict=True))
        with self.failures_explained():
            logits, *cache.values = self.session.run_with_ort_values(
                ["logits", *self.present], feed
            )
        return np.asarray(logits.numpy())
