"""Ids in, logits of the last position out, the KV cache kept between steps; knows nothing of text."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.bundle import Bundle
from gpt2xl.errors import BundleError
from gpt2xl.providers import Device, open_session
from gpt2xl.session_cache import Entry

Ids = npt.NDArray[np.int64]  # [batch_size, sequence_length]
BatchLogits = npt.NDArray[np.float32]  # [batch_size, vocab_size]

# The fastest of 64 to 900 measured on a 2-core CPU: attention is quadratic in it.
PREFILL_CHUNK = 256

CACHE_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
}


class Cache(Protocol):
    """Keys and values of the tokens seen so far, one row a sequence."""

    length: int
    """Tokens in each row."""


class Session(Protocol):
    """One graph, loaded."""

    def new_cache(self, batch_size: int = 1) -> Cache:
        """An empty cache with room for n_positions tokens a row."""

    def step(self, input_ids: Ids, cache: Cache) -> BatchLogits:
        """Feed ``input_ids`` after what ``cache`` holds; logits of each row's last position.

        The cache grows by ``sequence_length``; the caller keeps it within n_positions.
        """


def open_best(
    bundle: Bundle, device: Device, threads: int = 0, entry: Entry | None = None
) -> Session:
    """The engine graph where the bundle has one, else the portable one."""
    n_positions = bundle.config.n_positions
    if bundle.engine is not None:
        return EngineSession(bundle.engine, n_positions, device, threads, entry)
    assert bundle.portable is not None
    return PortableSession(bundle.portable, n_positions, device, threads, entry)


class _Graph:
    """What both kinds of graph share: names, types and the inputs of a step."""

    def __init__(
        self,
        path: Path,
        n_positions: int,
        device: Device,
        threads: int,
        entry: Entry | None = None,
    ) -> None:
        self.path = path
        self.n_positions = n_positions
        self.device = device
        self.session = open_session(path, device, threads, entry)
        self.inputs = {value.name: value for value in self.session.get_inputs()}
        self.past = [name for name in self.inputs if name.startswith("past_key_values.")]
        self.present = [name.replace("past_key_values", "present", 1) for name in self.past]
        outputs = {value.name for value in self.session.get_outputs()}
        missing = [name for name in ("input_ids", "attention_mask") if name not in self.inputs]
        missing += [name for name in ("logits", *self.present) if name not in outputs]
        if missing or not self.past:
            raise BundleError(
                f"'{path}' lacks {', '.join(missing) or 'past_key_values.*'}: not a GPT-2 with"
                " past-key-value inputs as docs/bundle.md describes it."
            )

    def empty_past(self, name: str, batch_size: int, length: int) -> npt.NDArray[np.generic]:
        """[batch_size, n_head, length, head_dim], head counts read off the graph itself."""
        _, n_head, _, head_dim = self.inputs[name].shape
        dtype = CACHE_TYPES[self.inputs[name].type]
        return np.zeros((batch_size, n_head, length, head_dim), dtype)

    def step_inputs(self, input_ids: Ids, past_length: int) -> dict[str, Ids]:
        batch_size, length = input_ids.shape
        end = past_length + length
        positions = np.tile(np.arange(past_length, end, dtype=np.int64), (batch_size, 1))
        every = {
            "input_ids": np.ascontiguousarray(input_ids, np.int64),
            "attention_mask": np.ones((batch_size, end), np.int64),
            "position_ids": positions,
        }
        return {name: value for name, value in every.items() if name in self.inputs}

    @contextmanager
    def failures_explained(self) -> Iterator[None]:
        """Turn what onnxruntime raises while running into one line of ours."""
        try:
            yield
        except Exception as reason:  # its classes share no base but Exception
            first_line = str(reason).splitlines()[0]
            raise BundleError(
                f"onnxruntime failed in '{self.path}', which may not fit its config.json: {first_line}"
            ) from None


class EngineCache:
    """Room for n_positions tokens a row, allocated once, on the session's device."""

    def __init__(self, graph: _Graph, batch_size: int) -> None:
        self.length = 0
        # zeros are mapped lazily on the CPU: only positions in use take memory
        buffers = [graph.empty_past(name, batch_size, graph.n_positions) for name in graph.past]
        values = [ort.OrtValue.ortvalue_from_numpy(b, graph.device, 0) for b in buffers]
        self.binding = graph.session.io_binding()
        for past, present, value in zip(graph.past, graph.present, values, strict=True):
            self.binding.bind_ortvalue_input(past, value)
            self.binding.bind_ortvalue_output(present, value)
        self._keep_alive = (buffers, values)


class EngineSession(_Graph):
    """The graph whose GroupQueryAttention writes keys and values into the cache in place."""

    def new_cache(self, batch_size: int = 1) -> EngineCache:
        """An empty cache with room for n_positions tokens a row."""
        return EngineCache(self, batch_size)

    def step(self, input_ids: Ids, cache: Any) -> BatchLogits:
        """See ``Session.step``."""
        assert isinstance(cache, EngineCache)
        # GroupQueryAttention takes several positions after a past for a single row only.
        rows, length = input_ids.shape
        size = PREFILL_CHUNK if rows == 1 else 1 if cache.length else length
        for chunk in chunks(input_ids, size):
            for name, value in self.step_inputs(chunk, cache.length).items():
                cache.binding.bind_cpu_input(name, value)
            cache.binding.bind_output("logits", "cpu")
            with self.failures_explained():
                self.session.run_with_iobinding(cache.binding)
            cache.length += chunk.shape[1]
        return last_logits(cache.binding.get_outputs()[-1].numpy())


class PortableCache:
    """The present tensors of the last step."""

    def __init__(self, graph: _Graph, batch_size: int) -> None:
        self.length = 0
        self.values = [
            ort.OrtValue.ortvalue_from_numpy(graph.empty_past(name, batch_size, 0), "cpu", 0)
            for name in graph.past
        ]


class PortableSession(_Graph):
    """The graph that returns a longer copy of the cache at each step; anybody's export will do."""

    def new_cache(self, batch_size: int = 1) -> PortableCache:
        """An empty cache."""
        return PortableCache(self, batch_size)

    def step(self, input_ids: Ids, cache: Any) -> BatchLogits:
        """See ``Session.step``."""
        assert isinstance(cache, PortableCache)
        for chunk in chunks(input_ids):
            feed = {
                name: ort.OrtValue.ortvalue_from_numpy(value)
                for name, value in self.step_inputs(chunk, cache.length).items()
            }
            feed |= dict(zip(self.past, cache.values, strict=True))
            with self.failures_explained():
                logits, *cache.values = self.session.run_with_ort_values(
                    ["logits", *self.present], feed
                )
            cache.length += chunk.shape[1]
        return last_logits(logits.numpy())


def chunks(input_ids: Ids, size: int = PREFILL_CHUNK) -> list[Ids]:
    """``input_ids`` cut into pieces of at most ``size`` positions.

    >>> [chunk.shape for chunk in chunks(np.zeros((1, 300), np.int64))]
    [(1, 256), (1, 44)]
    """
    return [input_ids[:, start : start + size] for start in range(0, input_ids.shape[1], size)]


def last_logits(logits: npt.NDArray[np.floating[Any]]) -> BatchLogits:
    """[batch_size, any, vocab_size] -> [batch_size, vocab_size] of the last position, float32."""
    return logits[:, -1].astype(np.float32, copy=False)
