"""The engine graph: what its sessions on the CPU and on other devices share."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import onnxruntime as ort

from gpt2xl.bundle.config import GPT2Config
from gpt2xl.sessions.base import OrtSession, on_cpu
from gpt2xl.sessions.exactness import LONG_STEP
from gpt2xl.sessions.prefill import cut_into_chunks
from gpt2xl.sessions.protocol import Ids, Lengths
from gpt2xl.startup.graph import OpenedGraph

KEEP_INPUT = "num_logits_to_keep"
LONG_STEP_INPUT = "long_step_from"
EIGHT_BITS_INPUT = "eight_bits_from"


class EngineSessionBase(OrtSession):
    """What sessions of an engine graph share; its GroupQueryAttention writes keys and values into the cache in place.

    Args:
        graph: opened by onnxruntime.
        config: of the bundle.
        long_step_from: as the manifest says, of graphs with an int8 cache.
        exact_prompts: whether long steps round as short ones do, which costs speed.
    """

    needed_options = frozenset({KEEP_INPUT})
    shares_steps = True

    def __init__(
        self,
        graph: OpenedGraph,
        config: GPT2Config,
        *,
        long_step_from: int = LONG_STEP,
        exact_prompts: bool = False,
    ) -> None:
        super().__init__(graph, config)
        self._long_step_from = config.n_positions + 1 if exact_prompts else long_step_from
        self._eight_bits_from = 1 if exact_prompts else long_step_from
        self._has_long_steps = LONG_STEP_INPUT in self.signature.optional and not exact_prompts

    @property
    def long_step_from(self) -> int | None:
        """See ``Session.long_step_from``."""
        return self._long_step_from if self._has_long_steps else None

    def chunks(self, input_ids: Ids, lengths: Lengths, least: int = 1) -> list[Ids]:
        """``input_ids`` in the chunks that one run each may take after so many tokens, [rows].

        GroupQueryAttention takes several positions after a past for a single row only; long steps take them for rows
        of one length. The last chunk has at least ``least`` positions, if there are as many.
        """
        rows, count = input_ids.shape
        if rows == 1:
            return cut_into_chunks(input_ids, max(self.prefill_chunk, least))
        is_long = self._has_long_steps and count >= self._long_step_from
        together = not lengths.any() or (is_long and (lengths == lengths[0]).all())
        return cut_into_chunks(input_ids, count if together else 1)

    @property
    def has_two_precisions(self) -> bool:
        """See ``Session.has_two_precisions``."""
        return EIGHT_BITS_INPUT in self.signature.optional and self._eight_bits_from > 1

    def optional_inputs(
        self, keep: int, *, shares_steps: bool
    ) -> Iterator[tuple[str, ort.OrtValue]]:
        """The inputs with a default that the graph has, by name.

        Args:
            keep: positions whose logits are wanted.
            shares_steps: whether texts share the step's cache.
        """
        eight_bits_from = 1 if shares_steps else self._eight_bits_from
        for name, number in (
            (KEEP_INPUT, keep),
            (LONG_STEP_INPUT, self._long_step_from),
            (EIGHT_BITS_INPUT, eight_bits_from),
        ):
            if name in self.signature.optional:
                yield name, _number(number)


@cache
def _number(number: int) -> ort.OrtValue:
    return on_cpu(np.array(number, np.int64))
