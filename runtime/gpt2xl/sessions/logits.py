"""Types of what a session takes and gives."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import EllipsisType

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]  # [rows, n]
Logits = npt.NDArray[np.float32]  # [vocab_size]
StepLogits = npt.NDArray[np.float32]  # [rows, keep, vocab_size]
HiddenState = npt.NDArray[np.float32]  # [rows, n, n_embd]
Index = int | slice | EllipsisType | npt.NDArray[np.integer]


@dataclass(frozen=True)
class TopLogits:
    """The k largest logits of each position, so that a GPU need not hand over the whole vocabulary.

    Indexed and iterated as an array of positions.
    """

    logits: npt.NDArray[np.float32]
    """[..., k], sorted by id within a position."""
    ids: npt.NDArray[np.int64]
    """[..., k]."""

    def __getitem__(self, positions: Index | tuple[Index, ...]) -> "TopLogits":
        return TopLogits(self.logits[positions], self.ids[positions])

    def __iter__(self) -> Iterator["TopLogits"]:
        return map(self.__getitem__, range(len(self.logits)))
