"""The engine graph on a GPU: the cache stays there, of logits only the largest leave it.

A decode step may be captured and replayed as a whole (CUDA graph): what it reads and writes lies at addresses
that stay. Runs on the CPU, too, where it is tested.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.engine import EngineSession
from gpt2xl.graph import Graph, Ids, StepLogits, check_fit
from gpt2xl.top_k import TopK

NOT_CAPTURED = "-1"
_graph_ids = count(1)  # a captured step belongs to its cache


class DeviceCache:
    """Room for n_positions tokens in each row: to grow would be to move."""

    def __init__(self, graph: Graph, rows: int) -> None:
        self.lengths = np.zeros(rows, np.int64)
        """Tokens in each row, [rows]."""
        self.graph_id = str(next(_graph_ids))
        """Of the captured step over this cache."""
        none = graph.empty_past(graph.past[0], rows, 0)
        self._zeros = np.zeros((*none.shape[:2], graph.n_positions, none.shape[3]), none.dtype)
        self.values = [device_value(self._zeros, graph.device) for _ in graph.past]
        self.step: Step | None = None

    @property
    def length(self) -> int:
        """Tokens in the longest row."""
        return int(self.lengths.max())

    @property
    def keys_and_values(self) -> list[npt.NDArray[np.generic]]:
        """Copies of those in use, [rows, n_head, length, head_dim] for each layer's key and value."""
        return [np.asarray(value.numpy()[:, :, : self.length]) for value in self.values]

    def fill(self, values: Sequence[npt.NDArray[np.generic]]) -> None:
        """Hold ``values``, as ``keys_and_values`` gives them; ValueError when they do not fit."""
        length = check_fit(values, self.keys_and_values, self._zeros.shape[2])
        self.lengths[:] = length
        whole = self._zeros.copy()
        for held, value in zip(self.values, values, strict=True):
            whole[:, :, :length] = value
            held.update_inplace(whole)

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` tokens of every row."""
        self.lengths[:] = np.minimum(self.lengths, length)

    def reserve(self, capacity: int) -> None:
        """Nothing to do: all there may be is there."""

    def bind(self, graph: Graph, binding: ort.IOBinding) -> None:
        """Make this cache past and present of what ``binding`` runs."""
        for past, present, value in zip(graph.past, graph.present, self.values, strict=True):
            binding.bind_ortvalue_input(past, value)
            binding.bind_ortvalue_output(present, value)


class Step:
    """One token a row, its inputs and outputs at fixed addresses; the mask is always of n_positions."""

    def __init__(self, graph: Graph, cache: DeviceCache, vocab_size: int) -> None:
        rows = len(cache.lengths)
        self._mask = np.zeros((rows, graph.n_positions), np.int64)
        column = np.zeros((rows, 1), np.int64)
        starts = {"input_ids": column, "position_ids": column, "attention_mask": self._mask}
        self.inputs = {name: device_value(array, graph.device) for name, array in starts.items()}
        self.logits = device_value(np.zeros((rows, 1, vocab_size), np.float32), graph.device)
        self.binding = graph.session.io_binding()
        cache.bind(graph, self.binding)
        for name, value in self.inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        self.binding.bind_ortvalue_output("logits", self.logits)

    def feed(self, input_ids: Ids, lengths: npt.NDArray[np.int64]) -> None:
        """Put what the next run reads where it reads it."""
        self._mask[:] = np.arange(self._mask.shape[1]) <= lengths[:, None]
        self.inputs["input_ids"].update_inplace(np.ascontiguousarray(input_ids, np.int64))
        self.inputs["position_ids"].update_inplace(lengths[:, None].copy())
        self.inputs["attention_mask"].update_inplace(self._mask)


class DeviceEngineSession(EngineSession):
    """See the module."""

    has_row_views = False
    cuda_graph = False
    """Whether steps of one token are captured and replayed; for sessions opened so."""

    @cached_property
    def _top_k(self) -> TopK:
        return TopK(self.session.get_providers())

    def new_cache(self, batch_size: int = 1, capacity: int | None = None) -> Any:
        """See ``Session.new_cache``; always of n_positions."""
        del capacity
        return DeviceCache(self, batch_size)

    def score(self, input_ids: Ids, cache: Any, keep: int = 1, top_k: int = 0) -> StepLogits:
        """See ``Session.score``."""
        assert isinstance(cache, DeviceCache)
        if self.cuda_graph and input_ids.shape[1] == keep == 1 and cache.length:
            return self._on_host(self._replay(input_ids, cache), top_k)
        parts = self._parts(input_ids, cache.length, keep)
        kept = [self._run_once(part, cache, min(keep, part.shape[1])) for part in parts]
        if keep == 1:
            return self._on_host(kept[-1], top_k)
        return np.concatenate([self._on_host(part, top_k) for part in kept], 1)[:, -keep:]

    def _on_host(self, logits: ort.OrtValue, top_k: int) -> StepLogits:
        return self._top_k(logits, top_k) if top_k else np.asarray(logits.numpy())

    def _run_once(self, input_ids: Ids, cache: DeviceCache, keep: int) -> ort.OrtValue:
        binding = self.session.io_binding()
        cache.bind(self, binding)
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
        if cache.step is None:
            cache.step = Step(self, cache, self.vocab_size)
        cache.step.feed(input_ids, cache.lengths)
        self._run_bound(cache.step.binding, cache.graph_id)
        cache.lengths += 1
        return cache.step.logits

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
