"""May steps be merged without changing a text?

A text is what plain decoding makes of it: the prompt fed as `Session.forward` cuts it, then one token a step.
Speculation, shared rows and reused caches merge or cut steps in other ways. Floating-point sums then have
another order. Whether that changes a text depends on what is quantized:

* float32 weights and cache: logits move by less than FLOAT_ROUNDING, and a text changes only where two tokens
  tie. Everything may be merged.
* An int8 KV cache: a position's bits do not depend on the step it is fed in, as long as the step has fewer
  than ``long_step_from`` tokens, or all steps have at least that many: short steps attend in 8 bits, long
  steps in float32, which is several times as fast. So a prompt is fed in long steps, speculation in short
  ones, and a reused prefix has to come from the same kind (`reusable_prefix`).
* Activations quantized at each step over a float cache: a sum in another order moves one activation to the next
  of its 255 levels now and then, and all that follows differs. Nothing may be merged.
* int4 in blocks of 64 or more: the kernels of a single row round differently from those of several rows. A
  trial shows it (`Exactness.steps_are_bitwise_equal`). Nothing may be merged.

* Two sets of weights, 4 bits for short steps of a text alone and 8 bits for all others (`fast`): the 4-bit kernels
  round a single row differently, so nothing is merged in a text alone. In a cache for several rows every step takes
  8 bits, whatever the number of rows in it, and a position's bits depend on no other row. So texts that share rows
  differ from texts alone, as two precisions do, but not with the number of rows or with what is in them. Long steps
  take 8 bits in either case: the beginning of a long prompt may be reused.

On CUDA rows share steps in any case: texts there may differ where two tokens are nearly as probable.
"""

from functools import cached_property

import numpy as np

from gpt2xl.sessions.protocol import Cache, Session

LONG_STEP = 9
"""``long_step_from`` of our exports."""
SHORT_STEP = LONG_STEP - 1
"""Most tokens in a step of speculation: one token and 7 draft tokens."""
FLOAT_ROUNDING = 1e-3
"""Largest difference of logits that merging causes where everything is float32."""


class Exactness:
    """What may be merged in the steps of one session.

    Args:
        session: the loaded graph.
        is_float32: whether all weights and the cache are float32 (`Bundle.is_float32`).
    """

    def __init__(self, session: Session, *, is_float32: bool) -> None:
        self._session = session
        self._is_float32 = is_float32

    @property
    def tolerance(self) -> float:
        """Largest difference between the logits of a merged step and of plain ones that changes no text."""
        return FLOAT_ROUNDING if self._is_float32 else 0.0

    @property
    def may_feed_several(self) -> bool:
        """Whether a step of generation may have several tokens, as far as cache and manifest say; does not run the model.

        With an int8 KV cache it also depends on the weights' kernels: compare the first merged steps with
        plain ones, as the `Speculator` does, or ask `may_merge_steps`.
        """
        session = self._session
        return self._is_float32 or (session.has_int8_cache and not session.has_two_precisions)

    @cached_property
    def steps_are_bitwise_equal(self) -> bool:
        """Whether tokens fed together give the bits they give one by one; the first call runs the model."""
        return steps_are_bitwise_equal(self._session)

    @property
    def may_merge_steps(self) -> bool:
        """Whether merged steps make the texts of plain ones; the first call may run the model."""
        return self._is_float32 or (self.may_feed_several and self.steps_are_bitwise_equal)

    @cached_property
    def _rows_are_bitwise_equal(self) -> bool:
        return steps_are_bitwise_equal(self._session, in_rows=True)

    @property
    def may_share_rows(self) -> bool:
        """Whether a text in rows depends on no other row; the first call may run the model.

        It is then the text alone, but on CUDA and where there are two precisions.
        """
        if self._session.has_two_precisions:
            return self._rows_are_bitwise_equal
        return self._session.device != "cpu" or self.may_merge_steps

    @property
    def may_reuse_prompts(self) -> bool:
        """Whether the beginning of a prompt may come from another text, by the rule of `reusable_prefix`."""
        return self._session.has_two_precisions or self.may_merge_steps


def steps_are_bitwise_equal(session: Session, *, in_rows: bool = False) -> bool:
    """Whether a few tokens give the same bits fed in one step, one by one, and as rows of a batch.

    Args:
        session: the loaded graph.
        in_rows: whether the single row is one of a cache for several.
    """
    ids = np.arange(min(SHORT_STEP, session.n_positions), dtype=np.int64)[None]
    count = ids.shape[1]

    def one_row(capacity: int) -> Cache:
        return session.new_cache(2 if in_rows else 1, capacity=capacity).rows(0, 1)

    together = session.forward(ids, one_row(count), keep=count)[0]
    cache = one_row(count)
    singly = [session.forward(ids[:, [at]], cache)[0, 0] for at in range(count)]
    rows = session.forward(ids.T, session.new_cache(count, capacity=1))[:, -1]
    last = session.forward(ids[:, -1:], one_row(1))[0, -1]
    rows_are_equal = np.array_equal(rows[[0, -1]], [singly[0], last])
    return rows_are_equal and np.array_equal(together, singly)


def reusable_prefix(
    shared: int, previous_prompt: int, prompt: int, long_step_from: int | None
) -> int:
    """How many tokens in the cache of the previous text the next prompt would compute alike.

    Args:
        shared: tokens with which the previous text and the next prompt begin alike.
        previous_prompt: tokens of the previous prompt; what follows it was generated in short steps.
        prompt: tokens of the next prompt.
        long_step_from: of the session; None where all steps round alike.

    Short prompts come from short steps, and all of a longer one from long steps, its rest included:

    >>> reusable_prefix(20, 15, 30, 9), reusable_prefix(20, 15, 22, 9), reusable_prefix(20, 5, 30, 9)
    (15, 13, 0)
    >>> reusable_prefix(20, 5, 30, None)
    20
    """
    if long_step_from is None:
        return shared
    from_long_steps = previous_prompt if previous_prompt >= long_step_from else 0
    return max(0, min(shared, from_long_steps, prompt - long_step_from))
