"""The decode loop over ids; knows nothing of text."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from gpt2xl.decoding.context import Context
from gpt2xl.decoding.samplers import Sampler, draw
from gpt2xl.decoding.speculation import Speculator

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True)
class Token:
    """One generated id; the last one says why the text ends."""

    id: int
    finish_reason: FinishReason | None
    """``stop``: this id is end-of-text; ``length``: max_new_tokens or the context is reached."""


def generate_tokens(
    context: Context,
    prompt_ids: Sequence[int],
    sampler: Sampler,
    *,
    max_new_tokens: int,
    eos_token_ids: AbstractSet[int],
    speculator: Speculator | None = None,
) -> Iterator[Token]:
    """Yield at least one token after ``prompt_ids`` (at least one id).

    Every token but the last is fed back; the caller keeps
    ``len(prompt_ids) + max_new_tokens - 1`` within the context.
    """
    ids, end = list(prompt_ids), len(prompt_ids) + max_new_tokens
    guesses, logits = list[int](), context.advance(ids)
    while True:
        for row, guess in zip(logits, [*guesses, None], strict=True):
            ids.append(draw(sampler, row))
            reason = finish_reason(ids[-1], len(ids) == end, eos_token_ids)
            yield Token(ids[-1], reason)
            if reason:
                return
            if ids[-1] != guess:
                break
        if speculator:
            guesses, logits = speculator.advance(context, ids, end - len(ids) - 1, sampler)
        else:
            logits = context.advance(ids)


def finish_reason(
    token_id: int, is_last: bool, eos_token_ids: AbstractSet[int]
) -> FinishReason | None:
    """Why a text ends with ``token_id``, if it does."""
    return "stop" if token_id in eos_token_ids else "length" if is_last else None
