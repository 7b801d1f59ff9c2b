"""The decode loop over ids; knows nothing of text."""

from collections.abc import Generator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.logprobs import Logprobs, logprobs_of
from gpt2xl.decoding.speculation import Speculator
from gpt2xl.sessions.protocol import Logits, TopLogits

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Token:
    """One generated id; the last one of a text says why the text ends."""

    id: int
    finish_reason: FinishReason | None
    """``stop``: this id is end-of-text; ``length``: max_new_tokens or the context is reached."""
    logprobs: Logprobs | None = None
    """Where the request asks for them."""


@dataclass(frozen=True)
class Request:
    """One text to generate."""

    ids: Sequence[int]
    """The prompt: at least one id."""
    chain: Chain
    """Not shared with another request that runs."""
    max_new_tokens: int
    """At least 1; ``len(ids) + max_new_tokens - 1`` is at most n_positions: the last token is not fed back."""
    logprobs: int | None = None
    """How many of the most probable ids each token carries, beside its own log-probability."""

    @property
    def needed_logits(self) -> int:
        """How many of the largest logits of a position are enough to choose the same token; 0: all are needed."""
        return self.chain.needed_logits if self.logprobs is None else 0

    def choose(
        self, ids: Sequence[int], logits: Logits | TopLogits, eos_token_ids: AbstractSet[int]
    ) -> Token:
        """The token after ``ids``, which are the prompt and the tokens so far."""
        token_id = self.chain.choose(ids, logits)
        is_last = len(ids) + 1 == len(self.ids) + self.max_new_tokens
        reason: FinishReason | None = "length" if is_last else None
        if token_id in eos_token_ids:
            reason = "stop"
        if self.logprobs is None or isinstance(logits, TopLogits):
            return Token(token_id, reason)
        return Token(token_id, reason, logprobs_of(logits, token_id, self.logprobs))


def generate_tokens(
    context: Context,
    request: Request,
    eos_token_ids: AbstractSet[int],
    speculator: Speculator | None = None,
) -> Generator[Token]:
    """Yield the tokens of a text, at least one; nothing runs before the first is asked for.

    Args:
        context: may hold the beginning of the prompt already; every token but the last is fed to it.
        request: what to generate.
        eos_token_ids: the ids that end a text.
        speculator: adds draft tokens to the steps; without one each step feeds one token.
    """
    ids = list(request.ids)
    end = len(ids) + request.max_new_tokens
    needed = (
        0 if speculator else request.needed_logits
    )  # draft tokens are checked against all logits
    draft, logits = list[int](), context.advance(ids, needed_logits=needed)
    while True:
        for position, draft_token in zip(logits, [*draft, None], strict=True):
            token = request.choose(ids, position, eos_token_ids)
            ids.append(token.id)
            yield token
            if token.finish_reason:
                return
            if token.id != draft_token:
                break
        if speculator:
            draft, logits = speculator.advance(context, ids, end - len(ids) - 1, request.chain)
        else:
            logits = context.advance(ids, needed_logits=needed)
