"""The engine graph on the CPU: the cache is numpy arrays that the graph reads and writes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.sessions.base import BOTH, HIDDEN, LOGITS, checked_length, on_cpu, restored_on_failure
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.engine_graph import EngineSessionBase
from gpt2xl.sessions.prefill import PREFILL_CHUNK, PREFILL_TILE
from gpt2xl.sessions.protocol import Cache, HiddenState, Ids, KeysAndValues, Lengths, StepLogits

CAPACITY_MULTIPLE = 64  # 64 positions of an int8 head are a page of memory; also few re-allocations


class EngineCache:
    """See ``Cache``; allocates `capacity` tokens a row."""

    def __init__(
        self,
        session: EngineSessionBase,
        buffers: list[npt.NDArray[np.generic]],
        lengths: Lengths,
        *,
        shares_steps: bool,
    ) -> None:
        self.lengths = lengths
        """See ``Cache.lengths``."""
        self.shares_steps = shares_steps
        """Whether it is, or is a view of, a cache for several texts."""
        self._session = session
        self._buffers = buffers
        self._bindings: dict[tuple[str, ...], ort.IOBinding] = {}

    @property
    def length(self) -> int:
        """See ``Cache.length``."""
        return int(self.lengths.max())

    @property
    def capacity(self) -> int:
        """Tokens a row has memory for."""
        return int(self._buffers[0].shape[2])

    @property
    def buffers(self) -> KeysAndValues:
        """All memory, laid out as `keys_and_values` with `capacity` positions."""
        return self._buffers

    @property
    def keys_and_values(self) -> KeysAndValues:
        """See ``Cache.keys_and_values``: views of the memory."""
        return [buffer[:, :, : self.length] for buffer in self._buffers]

    def fill(self, values: KeysAndValues) -> None:
        """See ``Cache.fill``."""
        length = checked_length(values, self.keys_and_values, self._session.n_positions)
        self.reserve(length)
        self.lengths[:] = length
        for held, value in zip(self.keys_and_values, values, strict=True):
            held[:] = value

    def truncate(self, length: int) -> None:
        """See ``Cache.truncate``."""
        self.lengths[:] = np.minimum(self.lengths, length)

    def reserve(self, capacity: int) -> None:
        """See ``Cache.reserve``."""
        if min(capacity, self._session.n_positions) <= self.capacity:
            return
        old = self.keys_and_values
        self._buffers = _new_buffers(self._session, len(self.lengths), capacity)
        for new, values in zip(self.keys_and_values, old, strict=True):
            new[:] = values
        self._bindings.clear()

    def rows(self, start: int, stop: int) -> "EngineCache":
        """See ``Cache.rows``."""
        buffers = [buffer[start:stop] for buffer in self._buffers]
        lengths = self.lengths[start:stop]
        return EngineCache(self._session, buffers, lengths, shares_steps=self.shares_steps)

    def copy_row(self, source: int, target: int) -> None:
        """See ``Cache.copy_row``."""
        length = self.lengths[target] = self.lengths[source]
        for buffer in self._buffers:
            buffer[target, :, :length] = buffer[source, :, :length]

    def reorder(self, sources: Sequence[int], shared: int = 0) -> None:
        """See ``Cache.reorder``."""
        every = np.asarray(sources, np.int64)
        (rows,) = (every != np.arange(len(every))).nonzero()
        if rows.size:
            source = every[rows]
            used = slice(shared, int(self.lengths[source].max()))
            for buffer in self._buffers:
                buffer[rows, :, used] = buffer[source, :, used]
            self.lengths[:] = self.lengths[every]

    def binding(self, outputs: tuple[str, ...]) -> ort.IOBinding:
        """An IO binding with this cache as past and as present, for runs that give ``outputs``."""
        if outputs not in self._bindings:
            session, binding = self._session, self._session.session.io_binding()
            for past, present, buffer in zip(
                session.past, session.present, self._buffers, strict=True
            ):
                value = on_cpu(buffer)
                binding.bind_ortvalue_input(past, value)
                binding.bind_ortvalue_output(present, value)
            self._bindings[outputs] = binding
        return self._bindings[outputs]


def _new_buffers(
    session: EngineSessionBase, rows: int, capacity: int
) -> list[npt.NDArray[np.generic]]:
    multiple = CAPACITY_MULTIPLE
    room = min(-(-capacity // multiple) * multiple, session.n_positions)
    # The system maps zeros when they are first written: only positions in use take memory.
    return [session.empty_past(rows, room) for _ in session.past]


class EngineSession(EngineSessionBase):
    """See the module, and ``Session``."""

    def new_cache(self, rows: int = 1, capacity: int | None = None) -> EngineCache:
        """See ``Session.new_cache``."""
        buffers = _new_buffers(self, rows, capacity or self.n_positions)
        return EngineCache(self, buffers, np.zeros(rows, np.int64), shares_steps=rows > 1)

    def forward(
        self, input_ids: Ids, cache: Cache, *, keep: int = 1, cancel: Cancellation | None = None
    ) -> StepLogits:
        """See ``Session.forward``."""
        return self._feed(LOGITS, input_ids, cache, keep, cancel)

    def forward_top(
        self,
        input_ids: Ids,
        cache: Cache,
        needed_logits: int,
        *,
        cancel: Cancellation | None = None,
    ) -> StepLogits:
        """See ``Session.forward_top``; always all logits, which lie in memory anyway."""
        del needed_logits
        return self.forward(input_ids, cache, cancel=cancel)

    def last_hidden_state(
        self, input_ids: Ids, cache: Cache, *, cancel: Cancellation | None = None
    ) -> HiddenState:
        """See ``Session.last_hidden_state``."""
        self.check_has(HIDDEN)
        return self._feed(HIDDEN, input_ids, cache, input_ids.shape[1], cancel)

    def logits_and_hidden_state(
        self, input_ids: Ids, cache: Cache, *, cancel: Cancellation | None = None
    ) -> tuple[StepLogits, HiddenState]:
        """See ``Session.logits_and_hidden_state``."""
        assert isinstance(cache, EngineCache)
        self.check_has(HIDDEN)
        cache.reserve(cache.length + 1)
        with restored_on_failure(cache.lengths):
            logits, state = self._run(BOTH, input_ids, cache, 1, cancel)
            self.check_values(logits)
        return logits, state

    def _feed(
        self, output: str, input_ids: Ids, cache: Cache, keep: int, cancel: Cancellation | None
    ) -> npt.NDArray[np.float32]:
        """Feed; ``output`` at the last ``keep`` positions, [rows, keep, width of ``output``]."""
        assert isinstance(cache, EngineCache)
        kept = []
        cache.reserve(cache.length + input_ids.shape[1])
        with restored_on_failure(cache.lengths):
            for chunk in self.chunks(input_ids, cache.lengths, keep if output == LOGITS else 1):
                kept += self._run((output,), chunk, cache, min(keep, chunk.shape[1]), cancel)
                if cache.length > PREFILL_CHUNK and chunk.shape[1] >= PREFILL_TILE:
                    self.release_weights()  # of a long prompt
            values = kept[-1] if keep == 1 else np.concatenate(kept, 1)[:, -keep:]
            self.check_values(values, output)
        return values

    def _run(
        self,
        outputs: tuple[str, ...],
        input_ids: Ids,
        cache: EngineCache,
        keep: int,
        cancel: Cancellation | None,
    ) -> list[npt.NDArray[np.float32]]:
        """Each of ``outputs`` at the last ``keep`` positions."""
        rows, count = input_ids.shape
        binding = cache.binding(outputs)
        values = [np.empty((rows, keep, self.widths[o]), self.output_type(o)) for o in outputs]
        for name, ids in self.step_inputs(input_ids, cache.lengths).items():
            binding.bind_cpu_input(name, ids)
        for name, number in self.optional_inputs(keep, shares_steps=cache.shares_steps):
            binding.bind_ortvalue_input(name, number)
        for output, value in zip(outputs, values, strict=True):
            binding.bind_ortvalue_output(output, on_cpu(value))
        with self.run_options(outputs[0], cancel) as options:
            self.session.run_with_iobinding(binding, options)
        cache.lengths += count
        return [value.astype(np.float32, copy=False) for value in values]
