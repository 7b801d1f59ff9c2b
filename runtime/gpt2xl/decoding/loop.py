"""The decode loop over ids; knows nothing of text."""

from collections.abc import Generator, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Literal

from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.context import Context
from gpt2xl.decoding.logprobs import Logprobs, PromptScores, logprobs_of
from gpt2xl.decoding.sliding import Slide
from gpt2xl.decoding.speculation import Speculator
from gpt2xl.sessions.protocol import Logits, PositionLogits, TopLogits

FinishReason = Literal["stop", "length", "sentence", "time", "repetition", "cancelled"]


@dataclass(frozen=True)
class Token:
    """One generated id; the last one of a text says why the text ends."""

    id: int
    finish_reason: FinishReason | None
    """``stop``: this id is end-of-text; ``length``: max_new_tokens or the context is reached. Other reasons are found by
    those who know the text."""
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
    """At least 1; ``len(ids) + max_new_tokens - 1`` is at most n_positions, since the last token is not fed back, unless
    there is a ``slide``."""
    eos_token_ids: AbstractSet[int] = frozenset()
    """The ids that end the text."""
    logprobs: int | None = None
    """How many of the most probable ids each token carries, beside its own log-probability."""
    processed_logprobs: bool = False
    """Whether log-probabilities are of the processed logits."""
    prompt_scores: PromptScores | None = None
    """Where the prompt's log-probabilities go, if they are wanted."""
    slide: Slide | None = None
    """What the model is shown of a text beyond the context; not shared with another request."""
    speculator: Speculator | None = None
    """Adds draft tokens to the steps; None: each step feeds one token. Not shared with another request."""

    @property
    def needed_logits(self) -> int:
        """How many of the largest logits of a position are enough to choose the same token; 0: all are needed."""
        return self.chain.needed_logits if self.logprobs is None else 0

    def choose(self, ids: Sequence[int], logits: Logits | TopLogits) -> Token:
        """The token after ``ids``, which are the prompt and the tokens so far."""
        if self.logprobs is None or isinstance(logits, TopLogits):
            return self._token(ids, self.chain.choose(ids, logits))
        processed = self.chain.process(ids, logits)
        token = self._token(ids, self.chain.sample(processed))
        reported = processed if self.processed_logprobs else logits
        return replace(token, logprobs=logprobs_of(reported, token.id, self.logprobs))

    def choose_while_drafted(
        self, ids: list[int], logits: PositionLogits | TopLogits, draft: Sequence[int]
    ) -> Iterator[Token]:
        """The token after ``ids``, and those after it while each is the one that was drafted; ``ids`` grow by them.

        Args:
            ids: the prompt and the tokens so far.
            logits: after the last of ``ids`` and after each draft token.
            draft: tokens that were fed after ``ids``.
        """
        for position, draft_token in zip(logits, [*draft, None], strict=True):
            token = self.choose(ids, position)
            ids.append(token.id)
            yield token
            if token.finish_reason or token.id != draft_token:
                return

    def draft_room(self, length: int) -> int:
        """Draft tokens that can be of use after ``length`` tokens of prompt and text."""
        return len(self.ids) + self.max_new_tokens - length - 1

    def _token(self, ids: Sequence[int], token_id: int) -> Token:
        is_last = len(ids) + 1 == len(self.ids) + self.max_new_tokens
        reason: FinishReason | None = "length" if is_last else None
        return Token(token_id, "stop" if token_id in self.eos_token_ids else reason)


def generate_tokens(context: Context, request: Request) -> Generator[Token]:
    """Yield the tokens of a text, at least one; nothing runs before the first is asked for.

    Args:
        context: may hold the beginning of the prompt already; every token but the last is fed to it.
        request: what to generate.
    """
    ids, speculator = list(request.ids), request.speculator
    context.slide = request.slide
    # Draft tokens are checked against all logits.
    needed = 0 if speculator else request.needed_logits
    draft, logits = list[int](), _first_logits(context, request, needed)
    while True:
        for token in request.choose_while_drafted(ids, logits, draft):
            yield token
            if token.finish_reason:
                return
        if speculator:
            room = min(request.draft_room(len(ids)), context.room(len(ids)))
            draft, logits = speculator.advance(context, ids, room, request.chain)
        else:
            logits = context.advance(ids, needed_logits=needed)


def _first_logits(context: Context, request: Request, needed: int) -> PositionLogits | TopLogits:
    if request.prompt_scores:
        return context.score(request.ids, request.prompt_scores.add)
    return context.advance(request.ids, needed_logits=needed)
