"""The decode loop over ids; knows nothing of text."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gpt2xl.sampling import Sampler
from gpt2xl.session import Session

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Token:
    """One generated id; the last one says why the text ends."""

    id: int
    finish_reason: FinishReason | None
    """``stop``: this id is end-of-text; ``length``: max_new_tokens or the context is reached."""


def generate_tokens(
    session: Session,
    prompt_ids: Sequence[int],
    sampler: Sampler,
    *,
    max_new_tokens: int,
    eos_token_ids: AbstractSet[int],
) -> Iterator[Token]:
    """Yield at least one token after ``prompt_ids`` (at least one id).

    Every token but the last is fed back; the caller keeps
    ``len(prompt_ids) + max_new_tokens - 1`` within the context.
    """
    cache = session.new_cache()
    logits = session.step(np.array([prompt_ids], np.int64), cache)[0]
    for left in reversed(range(max_new_tokens)):
        token_id = sampler(logits)
        if token_id in eos_token_ids:
            yield Token(token_id, "stop")
            return
        yield Token(token_id, None if left else "length")
        if left:
            logits = session.step(np.array([[token_id]], np.int64), cache)[0]
