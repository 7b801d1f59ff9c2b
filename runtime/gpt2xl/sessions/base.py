"""What all kinds of session share: the graph's inputs and outputs, the inputs of a step, errors."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from threading import RLock
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.errors import BundleError, RequestError, first_line
from gpt2xl.sessions.cancellation import Cancellation, Cancelled
from gpt2xl.sessions.prefill import PREFILL_CHUNK
from gpt2xl.sessions.protocol import Ids, KeysAndValues, Lengths
from gpt2xl.sessions.signature import read_signature
from gpt2xl.startup.graph import OpenedGraph
from gpt2xl.startup.providers import Device

LOGITS, HIDDEN = "logits", "last_hidden_state"
BOTH = (LOGITS, HIDDEN)
GRAPH_ID, NOT_CAPTURED = "gpu_graph_id", -1
CACHE_TYPES: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
}


class OrtSession:
    """An opened graph and what is known of its inputs and outputs.

    Args:
        graph: opened by onnxruntime.
        config: of the bundle.

    Raises:
        BundleError: the graph lacks an input that this kind of session needs.
    """

    needed_options: ClassVar[frozenset[str]] = frozenset()
    """Inputs with a default that graphs of this kind have."""

    def __init__(self, graph: OpenedGraph, config: GPT2Config) -> None:
        self.path = graph.path
        self.session = graph.session
        """onnxruntime's."""
        self.n_positions = config.n_positions
        self.vocab_size = config.vocab_size
        self.widths = {LOGITS: config.vocab_size, HIDDEN: config.n_embd}
        """Last dimension of each output other than the cache."""
        self.signature = read_signature(graph.session, graph.path)
        self.past = [n for n in self.signature.inputs if n.startswith("past_key_values.")]
        self.present = [name.replace("past_key_values", "present", 1) for name in self.past]
        self.captures_steps = graph.captures_steps
        """Whether runs may be captured as a CUDA graph."""
        self.lock = RLock()
        """Held during each use of a device that one thread at a time may use."""
        self._device: Device = graph.device
        self._weights = graph.weights
        if missing := sorted(self.needed_options - self.signature.optional.keys()):
            raise BundleError(f"'{self.path}' lacks {', '.join(missing)}: not an engine graph.")

    @property
    def device(self) -> Device:
        """See ``Session.device``."""
        return self._device

    @property
    def has_int8_cache(self) -> bool:
        """See ``Session.has_int8_cache``."""
        return self.signature.inputs[self.past[0]].type == "tensor(int8)"

    @property
    def has_two_precisions(self) -> bool:
        """See ``Session.has_two_precisions``."""
        return False

    @property
    def prefill_chunk(self) -> int:
        """See ``Session.prefill_chunk``."""
        return PREFILL_CHUNK if self.device == "cpu" else self.n_positions

    def check_has(self, output: str) -> None:
        """Raise RequestError where the graph has no such output."""
        if output not in self.signature.outputs:
            raise RequestError(
                f"'{self.path}' has no output '{output}': the engine graph of a gpt2xl export has it."
            )

    def output_type(self, name: str) -> type[np.generic]:
        """The numpy type of output ``name``."""
        return CACHE_TYPES[self.signature.outputs[name].type]

    def release_weights(self) -> None:
        """Release the pages of the embedding that a long prompt has read."""
        if self._weights:
            self._weights.release()

    def empty_past(self, rows: int, length: int) -> npt.NDArray[np.generic]:
        """Zeros for one layer's keys or values, [rows, n_head, length, head_dim]."""
        past = self.signature.inputs[self.past[0]]
        _, n_head, _, head_dim = past.shape
        return np.zeros((rows, n_head, length, head_dim), CACHE_TYPES[past.type])

    def step_inputs(self, input_ids: Ids, lengths: Lengths) -> dict[str, Ids]:
        """The inputs of a step without the cache.

        Args:
            input_ids: [rows, n].
            lengths: tokens that each row of the cache holds, [rows].
        """
        positions = lengths[:, None] + np.arange(input_ids.shape[1])
        ends = positions[:, -1:]
        every = {
            "input_ids": np.ascontiguousarray(input_ids, np.int64),
            "attention_mask": (np.arange(ends.max() + 1) <= ends).astype(np.int64),
            "position_ids": positions,
        }
        return {name: value for name, value in every.items() if name in self.signature.inputs}

    @contextmanager
    def run_options(
        self, output: str, cancel: Cancellation | None, graph_id: int = NOT_CAPTURED
    ) -> Iterator[ort.RunOptions | None]:
        """Options for one run in the block, which gives ``output``; None for onnxruntime's defaults.

        Args:
            output: LOGITS or HIDDEN; LOGITS where it gives both.
            cancel: ends the run.
            graph_id: of the CUDA graph that the run is captured as, or replays.

        Raises:
            BundleError: onnxruntime fails.
            Cancelled: by ``cancel``.
        """
        needed = cancel is not None or output != LOGITS or self.captures_steps
        options = _new_run_options(output, graph_id) if needed else None
        try:
            with cancel.watch(options) if cancel else nullcontext():
                yield options
        except Cancelled:
            raise
        except Exception as reason:  # onnxruntime's error classes share no base but Exception
            raise BundleError(
                f"onnxruntime failed in '{self.path}', which may not fit its config.json:"
                f" {first_line(reason)}"
            ) from None

    def check_values(self, values: npt.NDArray[np.floating[Any]], output: str = LOGITS) -> None:
        """Raise BundleError where one of ``values``, [..., n], is NaN, or the largest is infinite."""
        if not np.isfinite(values.max(-1)).all():  # the largest is NaN where any is
            raise BundleError(
                f"'{self.path}' gives {output} that are not numbers: its weights are damaged. `gpt2xl"
                " verify` says which file is; export or download it again."
            )


def _new_run_options(output: str, graph_id: int) -> ort.RunOptions:
    options = ort.RunOptions()
    options.only_execute_path_to_fetches = output != LOGITS  # spares the head
    # Set even where nothing is captured: where it is missing, onnxruntime raises and catches an error, 0.1 ms a run.
    options.add_run_config_entry(GRAPH_ID, str(graph_id))
    return options


@contextmanager
def restored_on_failure(lengths: Lengths) -> Iterator[None]:
    """Put ``lengths`` of a cache back where the block raises: tokens beyond them are overwritten later."""
    before = lengths.copy()
    try:
        yield
    except BaseException:
        lengths[:] = before
        raise


def on_cpu(values: npt.NDArray[np.generic]) -> ort.OrtValue:
    """``values`` for onnxruntime, not copied."""
    return ort.OrtValue.ortvalue_from_numpy(values)


def checked_length(values: KeysAndValues, held: KeysAndValues, n_positions: int) -> int:
    """The number of tokens in ``values``, which are to replace ``held``.

    Both are laid out as ``Cache.keys_and_values``.

    Raises:
        ValueError: shapes or types differ, or there are more than ``n_positions``.
    """
    length = values[0].shape[2] if values and values[0].ndim == 4 else 0
    found = [(value.shape, value.dtype) for value in values]
    wanted = [((*h.shape[:2], length, h.shape[3]), h.dtype) for h in held]
    if found != wanted or length > n_positions:
        raise ValueError("keys and values of another shape or type")
    return length
