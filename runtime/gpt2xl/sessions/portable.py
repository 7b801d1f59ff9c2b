"""The portable graph, which returns a longer copy of the cache at each step; any exporter's will do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.sessions.base import BOTH, HIDDEN, LOGITS, OrtSession, checked_length, on_cpu
from gpt2xl.sessions.cancellation import Cancellation
from gpt2xl.sessions.prefill import cut_into_chunks
from gpt2xl.sessions.protocol import Cache, HiddenState, Ids, KeysAndValues, Lengths, StepLogits


class _Row:
    """One text's keys and values, [1, n_head, length, head_dim] each; replaced by every step, never changed."""

    def __init__(self, values: list[ort.OrtValue]) -> None:
        self.values = values

    @property
    def length(self) -> int:
        return int(self.values[0].shape()[2])


class PortableCache:
    """See ``Cache``; each row is tensors of its own."""

    def __init__(self, session: "PortableSession", rows: list[_Row]) -> None:
        self.texts = rows
        self._session = session

    @property
    def lengths(self) -> Lengths:
        """See ``Cache.lengths``."""
        return np.array([row.length for row in self.texts], np.int64)

    @property
    def length(self) -> int:
        """See ``Cache.length``."""
        return int(self.lengths.max())

    @property
    def keys_and_values(self) -> KeysAndValues:
        """See ``Cache.keys_and_values``: copies where there are several rows; shorter ones end in zeros."""
        if len(self.texts) == 1:
            return [value.numpy() for value in self.texts[0].values]
        found = [self._session.empty_past(len(self.texts), self.length) for _ in self._session.past]
        for number, row in enumerate(self.texts):
            for into, value in zip(found, row.values, strict=True):
                into[number, :, : row.length] = value.numpy()[0]
        return found

    def fill(self, values: KeysAndValues) -> None:
        """See ``Cache.fill``."""
        checked_length(values, self.keys_and_values, self._session.n_positions)
        for number, row in enumerate(self.texts):
            own = [np.ascontiguousarray(value[number : number + 1]) for value in values]
            row.values = [on_cpu(value) for value in own]

    def truncate(self, length: int) -> None:
        """See ``Cache.truncate``."""
        for row in self.texts:
            if length < row.length:
                cut_off = [value.numpy()[:, :, :length] for value in row.values]
                row.values = [on_cpu(np.ascontiguousarray(value)) for value in cut_off]

    def reserve(self, capacity: int) -> None:
        """Does nothing: every step makes new tensors."""

    def rows(self, start: int, stop: int) -> "PortableCache":
        """See ``Cache.rows``."""
        return PortableCache(self._session, self.texts[start:stop])

    def copy_row(self, source: int, target: int) -> None:
        """See ``Cache.copy_row``."""
        self.texts[target].values = self.texts[source].values

    def reorder(self, sources: Sequence[int], shared: int = 0) -> None:
        """See ``Cache.reorder``; copies nothing: rows may share tensors."""
        del shared
        before = [row.values for row in self.texts]
        for row, source in zip(self.texts, sources, strict=True):
            row.values = before[source]


@contextmanager
def _restored_on_failure(rows: Sequence[_Row]) -> Iterator[None]:
    """Put the tensors of ``rows`` back where the block raises."""
    before = [row.values for row in rows]
    try:
        yield
    except BaseException:
        for row, values in zip(rows, before, strict=True):
            row.values = values
        raise


class PortableSession(OrtSession):
    """See the module, and ``Session``. Rows of a step are run one after the other."""

    long_step_from = None
    shares_steps = False

    def new_cache(self, rows: int = 1, capacity: int | None = None) -> PortableCache:
        """See ``Session.new_cache``; grows with every step."""
        del capacity
        empty = [on_cpu(self.empty_past(1, 0)) for _ in self.past]
        return PortableCache(self, [_Row(empty) for _ in range(rows)])

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
        """See ``Session.last_hidden_state``; for graphs of others that have this output."""
        self.check_has(HIDDEN)
        return self._feed(HIDDEN, input_ids, cache, input_ids.shape[1], cancel)

    def logits_and_hidden_state(
        self, input_ids: Ids, cache: Cache, *, cancel: Cancellation | None = None
    ) -> tuple[StepLogits, HiddenState]:
        """See ``Session.logits_and_hidden_state``; for graphs of others that have this output."""
        assert isinstance(cache, PortableCache)
        self.check_has(HIDDEN)
        with _restored_on_failure(cache.texts):
            pairs = zip(input_ids, cache.texts, strict=True)
            found = [self._run(BOTH, ids[None], row, cancel) for ids, row in pairs]
            logits, state = (
                np.concatenate(rows).astype(np.float32, copy=False)
                for rows in zip(*found, strict=True)
            )
            self.check_values(logits)
        return logits, state

    def _feed(
        self, output: str, input_ids: Ids, cache: Cache, keep: int, cancel: Cancellation | None
    ) -> npt.NDArray[np.float32]:
        """Feed; ``output`` at the last ``keep`` positions, [rows, keep, width of ``output``]."""
        assert isinstance(cache, PortableCache)
        with _restored_on_failure(cache.texts):
            pairs = zip(input_ids, cache.texts, strict=True)
            found = [self._feed_row(output, ids[None], row, keep, cancel) for ids, row in pairs]
            values = np.concatenate(found).astype(np.float32, copy=False)
            self.check_values(values, output)
        return values

    def _feed_row(
        self, output: str, input_ids: Ids, row: _Row, keep: int, cancel: Cancellation | None
    ) -> npt.NDArray[np.floating[Any]]:
        chunks = cut_into_chunks(input_ids, self.prefill_chunk)
        kept = [self._run((output,), chunk, row, cancel)[0][:, -keep:] for chunk in chunks]
        return np.concatenate(kept, 1)[:, -keep:]

    def _run(
        self, outputs: tuple[str, ...], input_ids: Ids, row: _Row, cancel: Cancellation | None
    ) -> list[npt.NDArray[np.floating[Any]]]:
        inputs = self.step_inputs(input_ids, np.array([row.length], np.int64))
        feed = {name: on_cpu(ids) for name, ids in inputs.items()}
        feed |= dict(zip(self.past, row.values, strict=True))
        with self.run_options(outputs[0], cancel) as options:
            found = self.session.run_with_ort_values([*outputs, *self.present], feed, options)
        row.values = found[len(outputs) :]
        return [np.asarray(value.numpy()) for value in found[: len(outputs)]]
