"""The engine graph, whose GroupQueryAttention writes keys and values into the cache in place."""

from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.sessions.base import (
    LONG_STEP,
    PREFILL_CHUNK,
    Graph,
    check_fit,
    chunks,
    on_cpu,
)
from gpt2xl.sessions.logits import Ids, StepLogits

KEEP = "num_logits_to_keep"
LONG = "long_step_from"
ROOM = 64  # capacities are multiples of it: pages of int8 heads, and few re-allocations


class EngineCache:
    """Room for ``capacity`` tokens in each row."""

    def __init__(
        self, graph: Graph, buffers: list[npt.NDArray[np.generic]], lengths: npt.NDArray[np.int64]
    ) -> None:
        self.lengths = lengths
        """Tokens in each row, [rows]."""
        self._graph = graph
        self._buffers = buffers
        self._binding: ort.IOBinding | None = None

    @property
    def length(self) -> int:
        """Tokens in the longest row."""
        return int(self.lengths.max())

    @property
    def capacity(self) -> int:
        """Tokens a row has room for."""
        return int(self._buffers[0].shape[2])

    @property
    def keys_and_values(self) -> list[npt.NDArray[np.generic]]:
        """Those in use, [rows, n_head, length, head_dim] for each layer's key and value: views."""
        return [buffer[:, :, : self.length] for buffer in self._buffers]

    def fill(self, values: Sequence[npt.NDArray[np.generic]]) -> None:
        """Hold ``values``, as ``keys_and_values`` gives them; ValueError when they do not fit."""
        length = check_fit(values, self.keys_and_values, self._graph.n_positions)
        self.reserve(length)
        self.lengths[:] = length
        for held, value in zip(self.keys_and_values, values, strict=True):
            held[:] = value

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` tokens of every row."""
        self.lengths[:] = np.minimum(self.lengths, length)

    def reserve(self, capacity: int) -> None:
        """Make room for ``capacity`` tokens; views of rows made before are no longer valid."""
        if capacity <= self.capacity:
            return
        old, rows = self.keys_and_values, len(self.lengths)
        self._buffers = _buffers(self._graph, rows, capacity)
        for new, values in zip(self.keys_and_values, old, strict=True):
            new[:] = values
        self._binding = None

    def rows(self, start: int, stop: int) -> "EngineCache":
        """Some rows, as a cache over the same memory."""
        buffers = [buffer[start:stop] for buffer in self._buffers]
        return EngineCache(self._graph, buffers, self.lengths[start:stop])

    def copy_row(self, source: int, target: int) -> None:
        """Let row ``target`` hold what row ``source`` does."""
        length = self.lengths[target] = self.lengths[source]
        for buffer in self._buffers:
            buffer[target, :, :length] = buffer[source, :, :length]

    def binding(self) -> ort.IOBinding:
        """One that has this cache as past and as present."""
        if self._binding is None:
            graph, binding = self._graph, self._graph.session.io_binding()
            for past, present, buffer in zip(graph.past, graph.present, self._buffers, strict=True):
                value = ort.OrtValue.ortvalue_from_numpy(buffer, graph.device, 0)
                binding.bind_ortvalue_input(past, value)
                binding.bind_ortvalue_output(present, value)
            self._binding = binding
        return self._binding


def _buffers(graph: Graph, rows: int, capacity: int) -> list[npt.NDArray[np.generic]]:
    room = min(-(-capacity // ROOM) * ROOM, graph.n_positions)
    # zeros are mapped lazily on the CPU: only positions in use take memory
    return [graph.empty_past(name, rows, room) for name in graph.past]


@cache
def _number(number: int) -> ort.OrtValue:
    return on_cpu(np.array(number, np.int64))


class EngineSession(Graph):
    """See the module."""

    needs = frozenset({KEEP})
    exact_prompts = False
    """Whether long steps round as short ones do, at the price of their speed."""

    @property
    def long_step_from(self) -> int:
        """See ``Session.long_step_from``."""
        return 1 if self.exact_prompts or LONG not in self.optional else LONG_STEP

    @cached_property
    def vocab_size(self) -> int:
        """Logits of each position."""
        return int(self.ports.outputs["logits"].shape[-1])

    def new_cache(self, batch_size: int = 1, capacity: int | None = None) -> EngineCache:
        """See ``Session.new_cache``."""
        buffers = _buffers(self, batch_size, capacity or self.n_positions)
        return EngineCache(self, buffers, np.zeros(batch_size, np.int64))

    def score(self, input_ids: Ids, cache: Any, keep: int = 1) -> StepLogits:
        """See ``Session.score``."""
        assert isinstance(cache, EngineCache)
        cache.reserve(cache.length + input_ids.shape[1])
        parts = self._parts(input_ids, cache.length, keep)
        kept = []
        for part in parts:
            kept.append(self._run(part, cache, min(keep, part.shape[1])))
            if input_ids.shape[1] > PREFILL_CHUNK:
                self.release_weights()
        logits = kept[-1] if keep == 1 else np.concatenate(kept, 1)[:, -keep:]
        self.check_logits(logits)
        return logits

    def _parts(self, input_ids: Ids, length: int, keep: int) -> list[Ids]:
        """GroupQueryAttention takes several positions after a past for a single row only."""
        rows, count = input_ids.shape
        return chunks(
            input_ids, max(self.prefill_chunk, keep) if rows == 1 else 1 if length else count
        )

    def _numbers(self, keep: int) -> Iterator[tuple[str, ort.OrtValue]]:
        """The inputs that have a default, by name."""
        limit = self.n_positions + 1 if self.exact_prompts else LONG_STEP
        for name, number in ((KEEP, keep), (LONG, limit)):
            if name in self.optional:
                yield name, _number(number)

    def _run(self, input_ids: Ids, cache: EngineCache, keep: int) -> StepLogits:
        rows, count = input_ids.shape
        binding = cache.binding()
        logits = np.empty((rows, keep, self.vocab_size), np.float32)
        for name, values in self.step_inputs(input_ids, cache.lengths).items():
            binding.bind_cpu_input(name, values)
        for name, number in self._numbers(keep):
            binding.bind_ortvalue_input(name, number)
        binding.bind_ortvalue_output("logits", on_cpu(logits))
        with self.failures_explained():
            self.session.run_with_iobinding(binding)
        cache.lengths += count
        return logits
