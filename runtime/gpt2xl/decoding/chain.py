"""From the logits of a position to a token id: logits processors one after the other, then a sampler."""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gpt2xl.decoding.samplers import Sampler, greedy
from gpt2xl.errors import RequestError
from gpt2xl.processors.protocol import LogitsProcessor
from gpt2xl.processors.ranking import largest
from gpt2xl.sessions.protocol import Logits, TopLogits


@dataclass
class Chain:
    """How a text chooses its tokens; a text needs one of its own, since samplers may hold state.

    >>> from gpt2xl.processors.penalties import repetition_penalty
    >>> Chain((repetition_penalty(2.0),)).choose([1], np.array([2, 3, 1], np.float32))
    0
    """

    processors: tuple[LogitsProcessor, ...] = ()
    sampler: Sampler = greedy
    needed_logits: int = 0
    """How many of the largest logits are enough to choose the same token; 0: all are needed.

    On the CPU `choose` cuts the logits to that many before the processors run; on CUDA the session does.
    """
    draft: "Chain | None" = None
    """What a draft model chooses with, if not with a copy of this chain: without processors and samplers of the
    user's own, which may hold state that cannot be copied."""
    accepted: Callable[[Sequence[int], Sequence[int]], list[int]] | None = None
    """From the text so far and draft tokens to those of them, from the first, that a grammar allows."""

    def choose(self, ids: Sequence[int], logits: Logits | TopLogits) -> int:
        """The next id.

        Args:
            ids: the text so far, prompt included.
            logits: of one position, [vocab_size]; or its largest, at least ``needed_logits`` of them.

        Raises:
            RequestError: a processor or sampler returned something of another shape or range.
        """
        if isinstance(logits, TopLogits):
            return int(logits.ids[self._position(ids, logits.logits)])
        if self.processors and self.needed_logits:
            # Far quicker than processing the whole vocabulary.
            kept = np.sort(largest(logits, self.needed_logits))
            return int(kept[self._position(ids, logits[kept])])
        return self._position(ids, logits)

    def process(self, ids: Sequence[int], logits: Logits) -> Logits:
        """All logits after the processors; raises RequestError as `choose`."""
        processed = logits.view()
        processed.flags.writeable = False  # log-probabilities are of what the model gave
        for processor in self.processors:
            processed = checked(processor(ids, processed), logits)
        return processed

    def sample(self, processed: Logits) -> int:
        """The sampler's choice; raises RequestError as `choose`."""
        chosen = self.sampler(processed)
        try:
            position = operator.index(chosen)
        except TypeError:
            raise RequestError(f"the sampler chose {chosen!r}, which is not an id.") from None
        if not 0 <= position < processed.size:
            raise RequestError(f"the sampler chose id {position} of {processed.size} ids.")
        return position

    def _position(self, ids: Sequence[int], logits: Logits) -> int:
        return self.sample(self.process(ids, logits))


def checked(processed: Logits, logits: Logits) -> Logits:
    """What a logits processor returned; raises RequestError where it has not the shape of ``logits``."""
    shape = getattr(processed, "shape", None)
    if shape != logits.shape:
        kind = f"an array of shape {shape}" if shape else type(processed).__name__
        raise RequestError(
            f"a logits processor returned {kind}, not an array of shape {logits.shape}."
        )
    return processed
