"""The portable graph, which returns a longer copy of the cache at each step; anybody's export will do."""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from gpt2xl.graph import Graph, Ids, StepLogits, chunks, on_cpu


class PortableCache:
    """The present tensors of the last step."""

    def __init__(self, values: list[ort.OrtValue]) -> None:
        self.values = values

    @property
    def length(self) -> int:
        """Tokens in each row."""
        return int(self.values[0].shape()[2])

    @property
    def keys_and_values(self) -> list[npt.NDArray[np.generic]]:
        """[rows, n_head, length, head_dim] for each layer's key and value."""
        return [value.numpy() for value in self.values]

    def truncate(self, length: int) -> None:
        """Forget all but the first ``length`` tokens of every row."""
        if length < self.length:
            cut = [np.ascontiguousarray(v[:, :, :length]) for v in self.keys_and_values]
            self.values = [on_cpu(values) for values in cut]


class PortableSession(Graph):
    """See the module."""

    def new_cache(self, batch_size: int = 1, capacity: int | None = None) -> PortableCache:
        """See ``Session.new_cache``."""
        del capacity  # it grows with every step
        return PortableCache([on_cpu(self.empty_past(name, batch_size, 0)) for name in self.past])

    def score(self, input_ids: Ids, cache: Any, keep: int = 1) -> StepLogits:
        """See ``Session.score``."""
        assert isinstance(cache, PortableCache)
        kept = [self._run(part, cache)[:, -keep:] for part in chunks(input_ids)]
        return np.concatenate(kept, 1)[:, -keep:].astype(np.float32, copy=False)

    def _run(self, input_ids: Ids, cache: PortableCache) -> npt.NDArray[np.floating[Any]]:
        feed = {name: on_cpu(v) for name, v in self.step_inputs(input_ids, cache.length).items()}
        feed |= dict(zip(self.past, cache.values, strict=True))
        with self.failures_explained():
            logits, *cache.values = self.session.run_with_ort_values(
                ["logits", *self.present], feed
            )
        return np.asarray(logits.numpy())
