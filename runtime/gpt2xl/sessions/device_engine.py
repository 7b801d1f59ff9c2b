"""The engine graph on a GPU: the cache stays there, and only the largest logits leave it.

A decode step may be captured as a CUDA graph and replayed: what it reads and writes lies at fixed addresses.
While one thread captures a step no other may use the device, so each use of it takes the session's lock. The
code runs on the CPU, too, where it is tested.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.sessions.base import BOTH, HIDDEN, LOGITS, restored_on_failure
from gpt2xl.sessions.cancellation import Cancellation, Cancelled
from gpt2xl.sessions.device_cache import DeviceCache, DeviceSessionBase
from gpt2xl.sessions.device_graphs import TopK
from gpt2xl.sessions.protocol import Cache, HiddenState, Ids, StepLogits, TopLogits


class DeviceEngineSession(DeviceSessionBase):
    """See the module, and ``Session``; arguments as of `EngineSessionBase`."""

    @cached_property
    def _top_k(self) -> TopK:
        return TopK(self.session.get_providers())

    def new_cache(self, rows: int = 1, capacity: int | None = None) -> DeviceCache:
        """See ``Session.new_cache``; always of n_positions."""
        del capacity
        with self.lock:
            values = self.empty_values(rows)
        return DeviceCache(self, values, np.zeros(rows, np.int64))

    def forward(
        self, input_ids: Ids, cache: Cache, *, keep: int = 1, cancel: Cancellation | None = None
    ) -> StepLogits:
        """See ``Session.forward``."""
        with self.lock, restored_on_failure(cache.lengths):
            logits = _on_host(self._logits(input_ids, cache, keep, cancel))
            logits = logits[: len(input_ids), -keep:]
            self.check_values(logits)
        return logits

    def forward_top(
        self,
        input_ids: Ids,
        cache: Cache,
        needed_logits: int,
        *,
        cancel: Cancellation | None = None,
    ) -> StepLogits | TopLogits:
        """See ``Session.forward_top``."""
        if not 0 < needed_logits < self.vocab_size:
            return self.forward(input_ids, cache, cancel=cancel)
        with self.lock, restored_on_failure(cache.lengths):
            logits = self._logits(input_ids, cache, 1, cancel)[-1]
            top = self._top_k(logits, needed_logits)[: len(input_ids)]
            self.check_values(top.logits)
        return top

    def last_hidden_state(
        self, input_ids: Ids, cache: Cache, *, cancel: Cancellation | None = None
    ) -> HiddenState:
        """See ``Session.last_hidden_state``."""
        self.check_has(HIDDEN)
        with self.lock, restored_on_failure(cache.lengths):
            state = _on_host(self._feed(HIDDEN, input_ids, cache, input_ids.shape[1], cancel))
            self.check_values(state, HIDDEN)
        return state

    def logits_and_hidden_state(
        self, input_ids: Ids, cache: Cache, *, cancel: Cancellation | None = None
    ) -> tuple[StepLogits, HiddenState]:
        """See ``Session.logits_and_hidden_state``; not captured."""
        assert isinstance(cache, DeviceCache)
        self.check_has(HIDDEN)
        with self.lock, restored_on_failure(cache.lengths):
            found = self._run_once(BOTH, input_ids, cache, 1, cancel)
            logits, state = (_on_host([value]) for value in found)
            self.check_values(logits)
        return logits, state

    def _logits(
        self, input_ids: Ids, cache: Cache, keep: int, cancel: Cancellation | None
    ) -> list[ort.OrtValue]:
        """Logits of each run, on the device; only the last ``keep`` positions and the first rows count."""
        assert isinstance(cache, DeviceCache)
        may_replay = self.captures_steps and not cache.first and cache.length
        if may_replay and input_ids.shape[1] == keep == 1:
            return [self._replay(input_ids, cache, cancel)]
        return self._feed(LOGITS, input_ids, cache, keep, cancel)

    def _feed(
        self, output: str, input_ids: Ids, cache: Cache, keep: int, cancel: Cancellation | None
    ) -> list[ort.OrtValue]:
        assert isinstance(cache, DeviceCache)
        chunks = self.chunks(input_ids, cache.lengths, keep if output == LOGITS else 1)
        return [
            self._run_once((output,), chunk, cache, min(keep, chunk.shape[1]), cancel)[0]
            for chunk in chunks
        ]

    def _run_once(
        self,
        outputs: tuple[str, ...],
        input_ids: Ids,
        cache: DeviceCache,
        keep: int,
        cancel: Cancellation | None,
    ) -> list[ort.OrtValue]:
        """Each of ``outputs`` at the last ``keep`` positions."""
        binding = cache.binding(outputs)
        for name, ids in self.step_inputs(input_ids, cache.lengths).items():
            binding.bind_cpu_input(name, ids)
        for name, number in self.optional_inputs(keep, shares_steps=False):
            binding.bind_ortvalue_input(name, number)
        values = []
        for output in outputs:
            shape, kind = (len(input_ids), keep, self.widths[output]), self.output_type(output)
            values.append(ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, self.device, 0))
            binding.bind_ortvalue_output(output, values[-1])
        with self.run_options(outputs[0], cancel) as options:
            self.session.run_with_iobinding(binding, options)
        cache.lengths += input_ids.shape[1]
        return values

    def _replay(
        self, input_ids: Ids, cache: DeviceCache, cancel: Cancellation | None
    ) -> ort.OrtValue:
        if cancel and cancel.is_cancelled:
            raise Cancelled
        step = cache.whole.step
        step.feed(input_ids, cache.whole.lengths)
        with self.run_options(LOGITS, None, step.graph_id) as options:  # a capture may not be ended
            self.session.run_with_iobinding(step.binding, options)
        cache.lengths += 1
        return step.logits


def _on_host(values: list[ort.OrtValue]) -> npt.NDArray[np.float32]:
    """The results of consecutive runs as one array, [rows, n, width]."""
    whole = np.concatenate([np.asarray(value.numpy()) for value in values], 1)
    return whole.astype(np.float32, copy=False)
