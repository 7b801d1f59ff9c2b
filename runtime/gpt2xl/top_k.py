"""The largest logits found where they are: a few numbers leave a GPU instead of the whole vocabulary."""

from base64 import b64decode

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

# A graph of one TopK, opset 20, written out because the runtime has no onnx to build it with; a test
# builds it: (logits [batch_size, keep, vocab_size], k [1]) -> (top_logits, top_ids).
TOP_K_GRAPH = b64decode(
    "CAo61QEKJgoGbG9naXRzCgFrEgp0b3BfbG9naXRzEgd0b3BfaWRzIgRUb3BLEgV0b3Bfa1o0CgZsb2dpdHMSKgooCAES"
    "JAoMEgpiYXRjaF9zaXplCgYSBGtlZXAKDBIKdm9jYWJfc2l6ZVoPCgFrEgoKCAgHEgQKAggBYi8KCnRvcF9sb2dpdHMS"
    "IQofCAESGwoMEgpiYXRjaF9zaXplCgYSBGtlZXAKAxIBa2IsCgd0b3BfaWRzEiEKHwgHEhsKDBIKYmF0Y2hfc2l6ZQoG"
    "EgRrZWVwCgMSAWtCBAoAEBQ="
)


class TopK:
    """One session on the device of the logits."""

    def __init__(self, providers: list[str]) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        self._session = ort.InferenceSession(TOP_K_GRAPH, options, providers=providers)

    def __call__(self, logits: ort.OrtValue, k: int) -> npt.NDArray[np.float32]:
        """``logits`` [batch_size, keep, vocab_size] on the host, all but each row's ``k`` largest -inf."""
        binding = self._session.io_binding()
        binding.bind_ortvalue_input("logits", logits)
        binding.bind_cpu_input("k", np.array([k], np.int64))
        binding.bind_output("top_logits", "cpu")
        binding.bind_output("top_ids", "cpu")
        self._session.run_with_iobinding(binding)
        largest, ids = (value.numpy() for value in binding.get_outputs())
        result = np.full(logits.shape(), -np.inf, np.float32)
        np.put_along_axis(result, ids, largest, -1)
        return result
