"""The engine graph on a GPU: the cache stays there, of logits only the largest leave it.

A decode step may be captured and replayed as a whole (CUDA graph): what it reads and writes lies at addresses
that stay. While one thread captures a step no other may use the device, so each use of it takes the session's
lock. Runs on the CPU, too, where it is tested.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import count
from typing import Any
from weakref import finalize

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.errors import RequestError
from gpt2xl.sessions.base import check_fit
from gpt2xl.sessions.device_graphs import Copy, TopK
from gpt2xl.sessions.engine import EngineSession
from gpt2xl.sessions.logits import Ids, StepLogits, TopLogits

NOT_CAPTURED = "-1"
_graph_ids = count(1)


class DeviceCache:
    """Room for n_positions tokens in each row: to grow would be to move."""

    def __init__(
        self,
        session: "DeviceEngineSession",
        values: list[ort.OrtValue],
        lengths: npt.NDArray[np.int64],
        first: int = 0,
        whole: "DeviceCache | None" = None,
    ) -> None:
        self.lengths = lengths
        """Tokens in each row, [rows]."""
        self.first = first
        """The first of these rows among all in their memory."""
        self._whole = whole
        self._session = session
        self._values = values

    @property
    def whole(self) -> "DeviceCache":
        """All rows in their memory."""
        return self._whole or self

    @property
    def length(self) -> int:
        """Tokens in the longest row."""
        return int(self.lengths.max())

    @property
    def keys_and_values(self) -> list[npt.NDArray[np.generic]]:
        """Copies of those in use, [rows, n_head, length, head_dim] for each layer's key and value."""
        rows = slice(self.first, self.first + len(self.lengths))
        with self._session.lock:
            return [np.asarray(value.numpy()[rows, :, : self.length]) for value in self._values]

    def fill(self, values: Sequence[npt.NDArray[np.generic]]) -> None:
        """Hold ``values``, as ``keys_and_values`` gives them; ValueError when they do not fit."""
        assert self.whole is self
        length = check_fit(values, self.keys_and_values, self._session.n_positions)
        self.lengths[:] = length
        whole = self._session.zeros(len(self.lengths))
        with self._session.lock:
            for held, value in zip(self._values, values, strict=True):
                whole[:, :, :length] = value
                held.update_inplace(whole)

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` tokens of every row."""
        self.lengths[:] = np.minimum(self.lengths, length)

    def reserve(self, capacity: int) -> None:
        """Nothing to do: all there may be is there."""

    def rows(self, start: int, stop: int) -> "DeviceCache":
        """Some rows, as a cache over the same memory."""
        if stop - start == len(self.lengths):
            return self
        lengths = self.lengths[start:stop]
        return DeviceCache(self._session, self._values, lengths, self.first + start, self.whole)

    def copy_row(self, source: int, target: int) -> None:
        """Let row ``target`` hold what row ``source`` does."""
        self.lengths[target] = self.lengths[source]
        size = self._session.zeros(1).nbytes
        with self._session.lock:
            for value in self._values:
                start = value.data_ptr() + self.first * size
                self._session.copy(start + source * size, start + target * size, size)

    @cached_property
    def binding(self) -> ort.IOBinding:
        """Of the steps that are not captured."""
        return self.new_binding()

    @cached_property
    def step(self) -> "Step":
        """The one that is captured, of all rows; forgotten with this cache."""
        step, session = Step(self._session, self), self._session.session
        if hasattr(session, "release_captured_graph"):  # onnxruntime 1.31
            release = finalize(self, _release_graph, self._session, int(step.graph_id))
            release.atexit = False
        return step

    def new_binding(self) -> ort.IOBinding:
        """One that has this cache as past and as present."""
        session = self._session
        binding, row = session.session.io_binding(), session.zeros(1)
        shape = [len(self.lengths), *row.shape[1:]]
        for past, present, value in zip(session.past, session.present, self._values, strict=True):
            start = value.data_ptr() + self.first * row.nbytes
            binding.bind_input(past, session.device, 0, row.dtype, shape, start)
            binding.bind_output(present, session.device, 0, row.dtype, shape, start)
        return binding


def _release_graph(session: "DeviceEngineSession", graph_id: int) -> None:
    with session.lock:
        session.session.release_captured_graph(graph_id)


class Step:
    """One token a row, its inputs and outputs at fixed addresses; the mask is always of n_positions."""

    def __init__(self, session: "DeviceEngineSession", cache: DeviceCache) -> None:
        rows = len(cache.lengths)
        self.graph_id = str(next(_graph_ids))
        self._ids = np.zeros((rows, 1), np.int64)
        self._lengths = np.zeros((rows, 1), np.int64)
        self._mask = np.zeros((rows, session.n_positions), np.int64)
        starts = {
            "input_ids": self._ids,
            "position_ids": self._lengths,
            "attention_mask": self._mask,
        }
        self.inputs = {name: device_value(array, session.device) for name, array in starts.items()}
        self.logits = device_value(
            np.zeros((rows, 1, session.vocab_size), np.float32), session.device
        )
        self.binding = cache.new_binding()
        for name, value in self.inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        self.binding.bind_ortvalue_output("logits", self.logits)

    def feed(self, input_ids: Ids, lengths: npt.NDArray[np.int64]) -> None:
        """Put what the next run reads where it reads it.

        Args:
            input_ids: of the first rows, [n, 1]; further ones write where their next token will.
            lengths: of all rows, [rows].
        """
        self._ids[: len(input_ids)] = input_ids
        np.minimum(lengths[:, None], self._mask.shape[1] - 1, out=self._lengths)
        self._mask[:] = np.arange(self._mask.shape[1]) <= self._lengths
        self.inputs["input_ids"].update_inplace(self._ids)
        self.inputs["position_ids"].update_inplace(self._lengths)
        self.inputs["attention_mask"].update_inplace(self._mask)


class DeviceEngineSession(EngineSession):
    """See the module."""

    cuda_graph = False
    """Whether steps of one token are captured and replayed; for sessions opened so."""

    @cached_property
    def _top_k(self) -> TopK:
        return TopK(self.session.get_providers())

    @cached_property
    def copy(self) -> Copy:
        """Copies within the device."""
        return Copy(self.session.get_providers(), self.device)

    def zeros(self, rows: int) -> npt.NDArray[np.generic]:
        """An empty cache of one layer's keys or values."""
        return self.empty_past(self.past[0], rows, self.n_positions)

    def new_cache(self, batch_size: int = 1, capacity: int | None = None) -> Any:
        """See ``Session.new_cache``; always of n_positions.

        Raises:
            RequestError: the device has no room for so many rows.
        """
        del capacity
        with self.lock:
            values = self._empty_values(batch_size)
        return DeviceCache(self, values, np.zeros(batch_size, np.int64))

    def _empty_values(self, batch_size: int) -> list[ort.OrtValue]:
        kind, shape = self.zeros(0).dtype.type, (batch_size, *self.zeros(0).shape[1:])
        try:
            values = [
                ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, self.device, 0)
                for _ in self.past
            ]
        except Exception as reason:  # onnxruntime's error classes share no base but Exception
            size = len(self.past) * batch_size * self.zeros(1).nbytes
            raise RequestError(
                f"no room on {self.device} for the KV cache of {batch_size} rows, {size / 1e9:.1f} GB: take fewer rows."
            ) from reason
        zeros = self.zeros(batch_size)
        values[0].update_inplace(zeros)
        for value in values[1:]:
            self.copy(values[0].data_ptr(), value.data_ptr(), zeros.nbytes)
        return values

    def score(self, input_ids: Ids, cache: Any, keep: int = 1) -> StepLogits:
        """See ``Session.score``."""
        with self.lock:
            kept = self._score(input_ids, cache, keep)
            logits = np.concatenate([np.asarray(part.numpy()) for part in kept], 1)
        logits = logits[: len(input_ids), -keep:]
        self.check_logits(logits)
        return logits

    def top_logits(self, input_ids: Ids, cache: Any, top_k: int) -> TopLogits:
        """As ``score``, of each row's last position the ``top_k`` largest, [batch_size, 1, top_k]."""
        with self.lock:
            top = self._top_k(self._score(input_ids, cache, 1)[-1], top_k)[: len(input_ids)]
        self.check_logits(top.logits)
        return top

    def _score(self, input_ids: Ids, cache: Any, keep: int) -> list[ort.OrtValue]:
        """Logits on the device; those of the last ``keep`` positions and the first rows count."""
        assert isinstance(cache, DeviceCache)
        captured = self.cuda_graph and not cache.first and cache.length
        if captured and input_ids.shape[1] == keep == 1:
            return [self._replay(input_ids, cache)]
        parts = self._parts(input_ids, cache.length, keep)
        return [self._run_once(part, cache, min(keep, part.shape[1])) for part in parts]

    def _run_once(self, input_ids: Ids, cache: DeviceCache, keep: int) -> ort.OrtValue:
        binding = cache.binding
        for name, values in self.step_inputs(input_ids, cache.lengths).items():
            binding.bind_cpu_input(name, values)
        for name, number in self._numbers(keep):
            binding.bind_ortvalue_input(name, number)
        shape = (len(input_ids), keep, self.vocab_size)
        logits = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, self.device, 0)
        binding.bind_ortvalue_output("logits", logits)
        self._run_bound(binding, NOT_CAPTURED)
        cache.lengths += input_ids.shape[1]
        return logits

    def _replay(self, input_ids: Ids, cache: DeviceCache) -> ort.OrtValue:
        step = cache.whole.step
        step.feed(input_ids, cache.whole.lengths)
        self._run_bound(step.binding, step.graph_id)
        cache.lengths += 1
        return step.logits

    def _run_bound(self, binding: ort.IOBinding, graph_id: str) -> None:
        options = ort.RunOptions()
        if self.cuda_graph:
            options.add_run_config_entry("gpu_graph_id", graph_id)
        with self.failures_explained():
            self.session.run_with_iobinding(binding, options)


def device_value(start: npt.NDArray[Any], device: str) -> ort.OrtValue:
    """A tensor on ``device`` that holds what ``start`` does."""
    value = ort.OrtValue.ortvalue_from_shape_and_type(start.shape, start.dtype.type, device, 0)
    value.update_inplace(start)
    return value
