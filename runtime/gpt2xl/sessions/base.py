"""What both kinds of graph share: names, types and the inputs of a step; knows nothing of text."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.errors import BundleError, first_line
from gpt2xl.sessions.logits import Ids
from gpt2xl.sessions.signature import read_ports
from gpt2xl.startup.providers import Device, open_session

# Most positions of a prompt fed at once on a CPU: 336 to 480 are no faster and take more memory.
PREFILL_CHUNK = 256
TILE = 48  # rows that onnxruntime's integer products work on together
# Positions from which on a step over an int8 KV cache attends in floats, which round in another way; shorter
# ones and longer ones each give the same bits among themselves.
LONG_STEP = 9

CACHE_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
}


class Graph:
    """One ONNX file, loaded."""

    needs: ClassVar[frozenset[str]] = frozenset()
    """Inputs with a default that graphs of this kind have."""

    def __init__(
        self,
        path: Path,
        n_positions: int,
        device: Device,
        threads: int,
        *,
        spinning: bool = True,
        cuda_graph: bool = False,
    ) -> None:
        self.path = path
        self.lock = RLock()  # of devices where runs of several threads exclude each other
        self.n_positions = n_positions
        self.device = device
        self.session, self._weights = open_session(
            path, device, threads, spinning=spinning, cuda_graph=cuda_graph
        )
        self.ports = read_ports(self.session, path)
        self.inputs = self.ports.inputs
        self.past = [name for name in self.inputs if name.startswith("past_key_values.")]
        self.present = [name.replace("past_key_values", "present", 1) for name in self.past]
        self.optional = set(self.ports.optional)
        if missing := sorted(self.needs - self.optional):
            raise BundleError(f"'{path}' lacks {', '.join(missing)}: not an engine graph.")

    @property
    def has_int8_cache(self) -> bool:
        """See ``Session.has_int8_cache``."""
        return bool(self.inputs[self.past[0]].type == "tensor(int8)")

    @property
    def prefill_chunk(self) -> int:
        """Positions of a prompt to feed at once: on a GPU all of it."""
        return PREFILL_CHUNK if self.device == "cpu" else self.n_positions

    def release_weights(self) -> None:
        """Hand back the rows of the embedding that a long prompt has read."""
        if self._weights:
            self._weights.release()

    def empty_past(self, name: str, batch_size: int, length: int) -> npt.NDArray[np.generic]:
        """[batch_size, n_head, length, head_dim], head counts read off the graph itself."""
        _, n_head, _, head_dim = self.inputs[name].shape
        dtype = CACHE_TYPES[self.inputs[name].type]
        return np.zeros((batch_size, n_head, length, head_dim), dtype)

    def step_inputs(self, input_ids: Ids, lengths: npt.NDArray[np.int64]) -> dict[str, Ids]:
        """What the graph is fed, the cache aside.

        Args:
            input_ids: [batch_size, n].
            lengths: tokens that each row's cache holds, [batch_size].
        """
        positions = lengths[:, None] + np.arange(input_ids.shape[1])
        ends = positions[:, -1:]
        every = {
            "input_ids": np.ascontiguousarray(input_ids, np.int64),
            "attention_mask": (np.arange(ends.max() + 1) <= ends).astype(np.int64),
            "position_ids": positions,
        }
        return {name: value for name, value in every.items() if name in self.inputs}

    @contextmanager
    def failures_explained(self) -> Iterator[None]:
        """Turn what onnxruntime raises while running into one line of ours."""
        try:
            yield
        except Exception as reason:  # its classes share no base but Exception
            raise BundleError(
                f"onnxruntime failed in '{self.path}', which may not fit its config.json:"
                f" {first_line(reason)}"
            ) from None

    def check_logits(self, logits: npt.NDArray[np.floating[Any]]) -> None:
        """Raise BundleError where one of ``logits``, [..., n], is NaN, or the largest is infinite."""
        if not np.isfinite(logits.max(-1)).all():  # the largest is NaN where any is
            raise BundleError(
                f"'{self.path}' gives logits that are not numbers: its weights are damaged. `gpt2xl"
                " verify` says which file is; export or download it again."
            )


def chunks(input_ids: Ids, size: int) -> list[Ids]:
    """``input_ids`` cut into few pieces of at most ``size`` positions, whole tiles but for the last.

    They are of nearly one length, so that no piece of a long prompt is shorter than LONG_STEP.

    >>> [chunk.shape[1] for chunk in chunks(np.zeros((1, 900), np.int64), 256)]
    [240, 240, 240, 180]
    >>> [chunk.shape[1] for chunk in chunks(np.zeros((1, 257), np.int64), 256)]
    [144, 113]
    """
    count, tile = input_ids.shape[1], min(TILE, size)
    if count <= size:
        return [input_ids]
    tiles = np.arange(0, count, tile)
    pieces = np.array_split(tiles, -(-len(tiles) // (size // tile)))
    return np.split(input_ids, [piece[0] for piece in pieces[1:]], axis=1)


def on_cpu(values: npt.NDArray[Any]) -> ort.OrtValue:
    """``values`` for onnxruntime, not copied: they have to outlive the result."""
    return ort.OrtValue.ortvalue_from_numpy(values)


def check_fit(
    values: Sequence[npt.NDArray[np.generic]],
    held: Sequence[npt.NDArray[np.generic]],
    n_positions: int,
) -> int:
    """Raise ValueError unless ``values`` can take the place of ``held``; their number of tokens.

    Both are [rows, n_head, tokens, head_dim] for each layer's key and value.
    """
    length = values[0].shape[2] if values and values[0].ndim == 4 else 0
    found = [(value.shape, value.dtype) for value in values]
    wanted = [((*h.shape[:2], length, h.shape[3]), h.dtype) for h in held]
    if found != wanted or length > n_positions:
        raise ValueError("keys and values of another shape or type")
    return length
