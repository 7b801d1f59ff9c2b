"""/v1/completions."""

import secrets
import time
from collections.abc import AsyncIterator, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gpt2xl_serve.completions.collecting import Started
from gpt2xl_serve.completions.deltas import Delta
from gpt2xl_serve.completions.logprobs import TokenNames
from gpt2xl_serve.completions.names import with_our_names
from gpt2xl_serve.completions.plan import completion_plan
from gpt2xl_serve.completions.request import CompletionRequest
from gpt2xl_serve.completions.response import Choice, Completion, Usage
from gpt2xl_serve.endpoints.answering import answered
from gpt2xl_serve.endpoints.starting import started
from gpt2xl_serve.service import service_of


async def completions(request: Request) -> Response:
    """Continue texts, or score them."""
    service = service_of(request)
    body, headers = await service.body(request, CompletionRequest, with_our_names)
    service.check_name(body.model)
    begun = await started(
        service, lambda: completion_plan(body, service.model, service.engine.check_room)
    )
    writer = _Writer(body, begun, service.name)
    return await answered(request, begun, writer, headers, streams=bool(body.stream))


class _Writer:
    """Writes the answer to a request whose texts are running."""

    def __init__(self, body: CompletionRequest, begun: Started, name: str) -> None:
        self._body, self._begun, self._name = body, begun, name
        self._id, self._created = f"cmpl-{secrets.token_hex(12)}", int(time.time())
        as_ids = bool(body.return_tokens_as_token_ids)
        self._names = TokenNames(begun.tokenizer, as_ids=as_ids)

    async def whole(self) -> Completion:
        """All choices."""
        texts = await self._begun.whole()
        chosen = self._begun.best(texts)
        choices = [self._choice(text, index) for index, text in enumerate(chosen)]
        return self._completion(choices, self._begun.usage(texts))

    async def chunks(self) -> AsyncIterator[Completion]:
        """What each token adds, where it adds something."""
        last = list[Delta]()
        async for delta in self._begun.deltas():
            if delta.generation:
                last.append(delta)
            if not delta.is_empty or (self._body.return_token_ids and delta.ids):
                yield self._completion([self._choice(delta, delta.number)])
        options = self._body.stream_options
        if options and options.include_usage:
            yield self._completion([], self._begun.usage(last))

    def _choice(self, delta: Delta, index: int) -> Choice:
        choice = Choice(
            index=index,
            text=delta.text,
            finish_reason=delta.finish_reason,
            stop_reason=delta.stop_reason,
        )
        if self._begun.plan.logprobs is not None:
            choice.logprobs = self._names.legacy(delta.tokens)
        if delta.generation and delta.generation.seed is not None:
            choice.seed = delta.generation.seed
        if self._body.return_token_ids:
            choice.token_ids = delta.ids
            choice.prompt_token_ids = delta.prompt_ids or msgspec.UNSET
        return choice

    def _completion(self, choices: Sequence[Choice], usage: Usage | None = None) -> Completion:
        return Completion(
            id=self._id,
            created=self._created,
            model=self._name,
            choices=list(choices),
            usage=usage,
        )


routes = [Route("/v1/completions", completions, methods=["POST"])]
