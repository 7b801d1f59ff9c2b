"""From the updates of an engine to choices, whole or in pieces."""

import math
from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from gpt2xl import Generation, Piece, RequestError, Tokenizer, Update
from gpt2xl.errors import Gpt2xlError
from gpt2xl_serve.completions.logprobs import LogprobsWriter, TokenNames
from gpt2xl_serve.completions.plan import Plan
from gpt2xl_serve.completions.response import Choice, FinishReason, TokenLogprobs, Usage
from gpt2xl_serve.engine import Run
from gpt2xl_serve.errors import ApiError

FINISH_REASONS: dict[str, FinishReason] = {"length": "length", "time": "length"}
"""OpenAI's word for ours; "stop" for the others."""


class ChoiceWriter:
    """Makes what each update adds to a choice.

    Args:
        plan: of the request.
        number: of the text in the plan; the choice's index, unless the best of several are chosen later.
        names: how tokens are spelt.
        returns_ids: whether choices carry token ids.
    """

    def __init__(
        self, plan: Plan, number: int, names: TokenNames, *, returns_ids: bool = False
    ) -> None:
        self._plan, self._number, self._text = plan, number, plan.texts[number]
        self._tokenizer: Tokenizer = names.tokenizer
        self._returns_ids = returns_ids
        self._logprobs = None if plan.logprobs is None else LogprobsWriter(names)
        self._length, self._tokens = 0, 0  # of the choice's text in characters; new tokens so far
        self._has_begun = False

    def add(self, update: Update) -> Choice:
        """What ``update``, which has a piece, adds."""
        choice = Choice(index=self._number, text="")
        if not self._has_begun:
            self._begin(choice, update)
        assert update.piece
        if self._plan.max_tokens:
            self._continue(choice, update.piece, update.generation)
        self._length += len(choice.text)
        generation = update.generation
        if generation:
            self._finish(choice, generation)
        if self._logprobs:
            is_whole = generation is not None and generation.stop_string is None
            choice.logprobs = self._logprobs.take(self._length, is_whole=is_whole)
        return choice

    def _begin(self, choice: Choice, update: Update) -> None:
        self._has_begun = True
        ids = self._text.prompt_ids
        if self._returns_ids:
            choice.prompt_token_ids, choice.token_ids = ids, []
        if self._plan.echo:
            choice.text = self._tokenizer.decode(ids)
            if self._logprobs:
                for token_id, logprobs in zip(ids, update.prompt_logprobs or (), strict=True):
                    self._logprobs.add(token_id, logprobs)

    def _continue(self, choice: Choice, piece: Piece, generation: Generation | None) -> None:
        choice.text += piece.text
        if generation and len(generation.new_ids) == self._tokens:
            return  # the token that has ended the text is not a part of it
        self._tokens += 1
        if self._returns_ids:
            choice.token_ids = [piece.id]
        if self._logprobs:
            self._logprobs.add(piece.id, piece.logprobs)

    def _finish(self, choice: Choice, generation: Generation) -> None:
        reason = generation.finish_reason if self._plan.max_tokens else "length"
        choice.finish_reason = FINISH_REASONS.get(reason, "stop")
        choice.stop_reason = generation.stop_string
        if reason not in ("stop", "length"):
            choice.stop_reason = reason
        if generation.seed is not None:
            choice.seed = generation.seed


def joined(parts: Sequence[Choice]) -> Choice:
    """The whole choice of all that was added."""
    last = parts[-1]
    whole = msgspec.structs.replace(last, text="".join(part.text for part in parts))
    found = [part.logprobs for part in parts if part.logprobs]
    if found:
        whole.logprobs = TokenLogprobs()
        for each in found:
            whole.logprobs.extend(each)
    if not isinstance(parts[0].prompt_token_ids, msgspec.UnsetType):
        whole.prompt_token_ids = parts[0].prompt_token_ids
        ids = [part.token_ids for part in parts]
        whole.token_ids = [i for some in ids if isinstance(some, list) for i in some]
    return whole


async def updates_of(run: Run, count: int) -> AsyncIterator[tuple[int, Update]]:
    """The updates of ``count`` texts, to the last.

    Raises:
        ApiError: an error has ended a text.
    """
    while count:
        number, update = await run.updates.get()
        if update.error:
            raise text_error(update.error)
        count -= update.generation is not None
        yield number, update


def text_error(error: Exception) -> ApiError:
    """The answer to a request whose text ``error`` has ended."""
    if isinstance(error, RequestError):
        return ApiError(400, str(error))
    shown = str(error) if isinstance(error, Gpt2xlError) else type(error).__name__
    return ApiError(500, f"an internal error has ended the text: {shown}")


def best(generations: Sequence[Generation], n: int) -> list[int]:
    """The numbers of the ``n`` texts whose tokens are the most probable on average, the best first."""
    means = [_mean_logprob(each) for each in generations]
    return sorted(range(len(means)), key=lambda number: -means[number])[:n]


def usage(plan: Plan, generations: Iterable[Generation]) -> Usage:
    """Counts of tokens; also of texts that were not the best."""
    new = sum(len(each.new_ids) for each in generations) if plan.max_tokens else 0
    return Usage(plan.prompt_tokens, new, plan.prompt_tokens + new)


def _mean_logprob(generation: Generation) -> float:
    values = [each.token for each in generation.logprobs or ()]
    return math.fsum(values) / len(values) if values else -math.inf
