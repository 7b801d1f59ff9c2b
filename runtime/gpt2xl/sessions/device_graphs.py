"""Two graphs of one operator each, for work on a device between steps.

They are serialized here because the runtime does not depend on onnx; tests build them and compare.
"""

from base64 import b64decode
from functools import partial

import numpy as np
import onnxruntime as ort

from gpt2xl.sessions.protocol import TopLogits

# TopK, opset 20: (logits [batch_size, keep, vocab_size], k [1]) -> (top_logits, top_ids).
TOP_K_GRAPH = b64decode(
    "CAo61QEKJgoGbG9naXRzCgFrEgp0b3BfbG9naXRzEgd0b3BfaWRzIgRUb3BLEgV0b3Bfa1o0CgZsb2dpdHMSKgooCAES"
    "JAoMEgpiYXRjaF9zaXplCgYSBGtlZXAKDBIKdm9jYWJfc2l6ZVoPCgFrEgoKCAgHEgQKAggBYi8KCnRvcF9sb2dpdHMS"
    "IQofCAESGwoMEgpiYXRjaF9zaXplCgYSBGtlZXAKAxIBa2IsCgd0b3BfaWRzEiEKHwgHEhsKDBIKYmF0Y2hfc2l6ZQoG"
    "EgRrZWVwCgMSAWtCBAoAEBQ="
)
# Identity, opset 20: (source [bytes]) -> (target [bytes]).
COPY_GRAPH = b64decode(
    "CAo6WAoaCgZzb3VyY2USBnRhcmdldCIISWRlbnRpdHkSBGNvcHlaGQoGc291cmNlEg8KDQgCEgkKBxIFYnl0ZXNiGQoGdGFy"
    "Z2V0Eg8KDQgCEgkKBxIFYnl0ZXNCBAoAEBQ="
)


class TopK:
    """Finds the largest logits on the device, so that few numbers are copied from it."""

    def __init__(self, providers: list[str]) -> None:
        self._session = _open(TOP_K_GRAPH, providers)

    def __call__(self, logits: ort.OrtValue, k: int) -> TopLogits:
        """The ``k`` largest of each position of ``logits``, [batch_size, keep, vocab_size]."""
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("logits", logits)
        binding.bind_cpu_input("k", np.array([k], np.int64))
        binding.bind_output("top_logits", "cpu")
        binding.bind_output("top_ids", "cpu")
        self._session.run_with_iobinding(binding)
        largest, ids = (value.numpy() for value in binding.get_outputs())
        order = ids.argsort(-1)
        by_id = partial(np.take_along_axis, indices=order, axis=-1)
        return TopLogits(by_id(largest), by_id(ids))


class Copy:
    """Copies bytes within a device."""

    def __init__(self, providers: list[str], device: str) -> None:
        self._session = _open(COPY_GRAPH, providers)
        self._device = device

    def __call__(self, source: int, target: int, size: int) -> None:
        """Copy ``size`` bytes from the address ``source`` to ``target``; the ranges may not overlap."""
        binding = self._session.io_binding()
        binding.bind_input("source", self._device, 0, np.uint8, [size], source)
        binding.bind_output("target", self._device, 0, np.uint8, [size], target)
        self._session.run_with_iobinding(binding)


def _open(graph: bytes, providers: list[str]) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(graph, options, providers=providers)
