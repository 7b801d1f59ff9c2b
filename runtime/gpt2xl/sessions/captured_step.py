"""A decode step that a CUDA graph captures: its inputs and outputs stay at fixed addresses."""

from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.sessions.protocol import Ids, Lengths

_graph_ids = count(1)


class CapturedStep:
    """One token for each row of a cache; the attention mask always has n_positions columns.

    Args:
        binding: of the session, past and present bound to the cache; gets the other inputs and the logits.
        device: where the session runs.
        rows: of the cache.
        n_positions: most tokens that a row can hold.
        vocab_size: logits of a position.
    """

    def __init__(
        self, binding: ort.IOBinding, device: str, rows: int, n_positions: int, vocab_size: int
    ) -> None:
        self.graph_id = next(_graph_ids)
        """What onnxruntime knows the captured graph by."""
        self.binding = binding
        self._ids = np.zeros((rows, 1), np.int64)
        self._lengths = np.zeros((rows, 1), np.int64)
        self._mask = np.zeros((rows, n_positions), np.int64)
        inputs = {
            "input_ids": self._ids,
            "position_ids": self._lengths,
            "attention_mask": self._mask,
        }
        self._inputs = {name: device_value(array, device) for name, array in inputs.items()}
        self.logits = device_value(np.zeros((rows, 1, vocab_size), np.float32), device)
        """Logits of the last run, [rows, 1, vocab_size]."""
        for name, value in self._inputs.items():
            self.binding.bind_ortvalue_input(name, value)
        self.binding.bind_ortvalue_output("logits", self.logits)

    def feed(self, input_ids: Ids, lengths: Lengths) -> None:
        """Copy the inputs of the next run into the captured buffers.

        Args:
            input_ids: of the first rows, [n, 1]; further rows write where their next token will.
            lengths: of all rows, [rows].
        """
        self._ids[: len(input_ids)] = input_ids
        np.minimum(lengths[:, None], self._mask.shape[1] - 1, out=self._lengths)
        self._mask[:] = np.arange(self._mask.shape[1]) <= self._lengths
        self._inputs["input_ids"].update_inplace(self._ids)
        self._inputs["position_ids"].update_inplace(self._lengths)
        self._inputs["attention_mask"].update_inplace(self._mask)


def device_value(start: npt.NDArray[Any], device: str) -> ort.OrtValue:
    """A tensor on ``device`` that holds what ``start`` does."""
    value = ort.OrtValue.ortvalue_from_shape_and_type(start.shape, start.dtype.type, device, 0)
    value.update_inplace(start)
    return value
