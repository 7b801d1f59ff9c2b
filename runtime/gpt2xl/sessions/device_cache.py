"""Memory of the engine graph's KV cache on a GPU."""

from collections.abc import Sequence
from functools import cached_property
from weakref import finalize

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.errors import RequestError, counted
from gpt2xl.sessions.base import checked_length
from gpt2xl.sessions.captured_step import CapturedStep
from gpt2xl.sessions.device_graphs import Copy
from gpt2xl.sessions.engine_graph import EngineSessionBase
from gpt2xl.sessions.protocol import KeysAndValues, Lengths


class DeviceSessionBase(EngineSessionBase):
    """What sessions of an engine graph on a device share: how memory is used there; arguments as of `EngineSessionBase`."""

    @cached_property
    def copy(self) -> Copy:
        """Copies bytes within the device."""
        return Copy(self.session.get_providers(), self.device)

    @cached_property
    def spare_row(self) -> ort.OrtValue:
        """Memory for one layer's keys or values of a row, used while `lock` is held."""
        row = self.zeros(1)
        return ort.OrtValue.ortvalue_from_shape_and_type(row.shape, row.dtype.type, self.device, 0)

    def zeros(self, rows: int) -> npt.NDArray[np.generic]:
        """An empty cache of one layer's keys or values."""
        return self.empty_past(rows, self.n_positions)

    def empty_values(self, rows: int) -> list[ort.OrtValue]:
        """An empty cache on the device: for each layer the key, then the value.

        Raises:
            RequestError: there is no room for it.
        """
        kind, shape = self.zeros(0).dtype.type, (rows, *self.zeros(0).shape[1:])
        try:
            values = [
                ort.OrtValue.ortvalue_from_shape_and_type(shape, kind, self.device, 0)
                for _ in self.past
            ]
        except Exception as reason:  # onnxruntime's error classes share no base but Exception
            size = len(self.past) * rows * self.zeros(1).nbytes
            raise RequestError(
                f"no room on {self.device} for the KV cache of {counted(rows, 'row')}, {size / 1e9:.1f} GB: take fewer rows."
            ) from reason
        zeros = self.zeros(rows)
        values[0].update_inplace(zeros)
        for value in values[1:]:
            self.copy(values[0].data_ptr(), value.data_ptr(), zeros.nbytes)
        return values


class DeviceCache:
    """See ``Cache``. Room for n_positions tokens in each row, fixed: growing would change addresses."""

    def __init__(
        self,
        session: DeviceSessionBase,
        values: list[ort.OrtValue],
        lengths: Lengths,
        first: int = 0,
        whole: "DeviceCache | None" = None,
    ) -> None:
        self.lengths = lengths
        """See ``Cache.lengths``."""
        self.first = first
        """Index in `whole` of the first of these rows."""
        self._whole = whole
        self._session = session
        self._values = values
        self._bindings: dict[tuple[str, ...], ort.IOBinding] = {}

    @property
    def whole(self) -> "DeviceCache":
        """The cache of which this is a view, or itself."""
        return self._whole or self

    @property
    def length(self) -> int:
        """See ``Cache.length``."""
        return int(self.lengths.max())

    @property
    def keys_and_values(self) -> KeysAndValues:
        """See ``Cache.keys_and_values``: copies in the memory of the CPU."""
        rows = slice(self.first, self.first + len(self.lengths))
        with self._session.lock:
            return [np.asarray(value.numpy()[rows, :, : self.length]) for value in self._values]

    def fill(self, values: KeysAndValues) -> None:
        """See ``Cache.fill``; not for a view of some rows."""
        assert self.whole is self
        length = checked_length(values, self.keys_and_values, self._session.n_positions)
        self.lengths[:] = length
        whole = self._session.zeros(len(self.lengths))
        with self._session.lock:
            for held, value in zip(self._values, values, strict=True):
                whole[:, :, :length] = value
                held.update_inplace(whole)

    def truncate(self, length: int) -> None:
        """See ``Cache.truncate``."""
        self.lengths[:] = np.minimum(self.lengths, length)

    def reserve(self, capacity: int) -> None:
        """Does nothing: all memory is allocated at once."""

    def rows(self, start: int, stop: int) -> "DeviceCache":
        """See ``Cache.rows``."""
        if stop - start == len(self.lengths):
            return self
        lengths = self.lengths[start:stop]
        return DeviceCache(self._session, self._values, lengths, self.first + start, self.whole)

    def copy_row(self, source: int, target: int) -> None:
        """See ``Cache.copy_row``."""
        self.lengths[target] = self.lengths[source]
        size = self._session.zeros(1).nbytes
        with self._session.lock:
            for value in self._values:
                start = value.data_ptr() + self.first * size
                self._session.copy(start + source * size, start + target * size, size)

    def reorder(self, sources: Sequence[int], shared: int = 0) -> None:
        """See ``Cache.reorder``; copies whole rows, which is one piece of memory a layer."""
        del shared
        moves, size = moves_of(sources), self._session.zeros(1).nbytes
        self.lengths[:] = self.lengths[np.asarray(sources, np.int64)]
        with self._session.lock:
            spare = self._session.spare_row.data_ptr()
            for value in self._values:
                first = value.data_ptr() + self.first * size
                places = [*range(first, first + len(sources) * size, size), spare]
                for source, target in moves:
                    self._session.copy(places[source], places[target], size)

    @cached_property
    def step(self) -> CapturedStep:
        """The captured decode step of all rows; released with this cache."""
        session = self._session
        step = CapturedStep(
            self.new_binding(),
            session.device,
            len(self.lengths),
            session.n_positions,
            session.vocab_size,
        )
        if hasattr(session.session, "release_captured_graph"):  # onnxruntime 1.31
            release = finalize(self, _release_graph, session, step.graph_id)
            release.atexit = False
        return step

    def new_binding(self) -> ort.IOBinding:
        """An IO binding with this cache as past and as present."""
        session = self._session
        binding, row = session.session.io_binding(), session.zeros(1)
        shape = [len(self.lengths), *row.shape[1:]]
        for past, present, value in zip(session.past, session.present, self._values, strict=True):
            start = value.data_ptr() + self.first * row.nbytes
            binding.bind_input(past, session.device, 0, row.dtype, shape, start)
            binding.bind_output(present, session.device, 0, row.dtype, shape, start)
        return binding

    def binding(self, outputs: tuple[str, ...]) -> ort.IOBinding:
        """The IO binding of runs that are not captured and give ``outputs``."""
        if outputs not in self._bindings:
            self._bindings[outputs] = self.new_binding()
        return self._bindings[outputs]


def moves_of(sources: Sequence[int]) -> list[tuple[int, int]]:
    """Copies, (source, target), that one after the other make each row i what row ``sources[i]`` was.

    A row is overwritten only when no other needs it any more; where all wait for each other in a circle, one is saved
    in a spare row, which has the number ``len(sources)``.

    >>> moves_of([0, 0, 1]), moves_of([1, 0])
    ([(1, 2), (0, 1)], [(0, 2), (1, 0), (2, 1)])
    """
    spare, moves = len(sources), list[tuple[int, int]]()
    waiting = {target: source for target, source in enumerate(sources) if source != target}
    while waiting:
        target = next((row for row in waiting if row not in waiting.values()), None)
        if target is None:
            target = min(waiting)
            moves.append((target, spare))
            waiting = {to: spare if of == target else of for to, of in waiting.items()}
        moves.append((waiting.pop(target), target))
    return moves


def _release_graph(session: DeviceSessionBase, graph_id: int) -> None:
    with session.lock:
        session.session.release_captured_graph(graph_id)
