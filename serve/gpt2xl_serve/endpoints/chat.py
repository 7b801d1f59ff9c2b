"""/v1/chat/completions, where the server was given a template."""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gpt2xl_serve.chat.messages import (
    Answer,
    ChatChoice,
    ChatCompletion,
    ChatLogprobs,
    ChatRequest,
    TokenLogprob,
    TopLogprob,
)
from gpt2xl_serve.chat.plan import chat_plan
from gpt2xl_serve.completions.collecting import Started
from gpt2xl_serve.completions.deltas import Delta, ScoredToken
from gpt2xl_serve.completions.logprobs import TokenNames
from gpt2xl_serve.completions.names import with_our_names
from gpt2xl_serve.completions.response import Usage
from gpt2xl_serve.endpoints.answering import answered
from gpt2xl_serve.endpoints.starting import started
from gpt2xl_serve.errors import ApiError
from gpt2xl_serve.service import service_of

Part = Literal["message", "delta"]


async def chat(request: Request) -> Response:
    """The next message of a conversation."""
    service = service_of(request)
    template = service.chat
    if template is None:
        raise ApiError(
            404,
            "there is no chat here: GPT-2 is a base model, which continues texts. Use /v1/completions,"
            " or start the server with --chat-template.",
        )
    body, headers = await service.body(request, ChatRequest, with_our_names)
    service.check_name(body.model)
    begun = await started(
        service, lambda: chat_plan(body, template, service.model, service.engine.check_room)
    )
    writer = _Writer(body, begun, service.name)
    return await answered(request, begun, writer, headers, streams=bool(body.stream))


class _Writer:
    """Writes the answer to a request whose texts are running."""

    def __init__(self, body: ChatRequest, begun: Started, name: str) -> None:
        self._body, self._begun, self._name = body, begun, name
        self._id, self._created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        self._names = TokenNames(begun.tokenizer)

    async def whole(self) -> ChatCompletion:
        """All messages."""
        texts = await self._begun.whole()
        choices = [self._choice(text, "message", is_first=True) for text in texts]
        return self._completion("chat.completion", choices, self._begun.usage(texts))

    async def chunks(self) -> AsyncIterator[ChatCompletion]:
        """What each token adds, where it adds something."""
        last = list[Delta]()
        async for delta in self._begun.deltas():
            if delta.generation:
                last.append(delta)
            is_first = delta.prompt_ids is not None
            if is_first or not delta.is_empty:
                choice = self._choice(delta, "delta", is_first=is_first)
                yield self._completion("chat.completion.chunk", [choice])
        options = self._body.stream_options
        if options and options.include_usage:
            yield self._completion("chat.completion.chunk", [], self._begun.usage(last))

    def _choice(self, delta: Delta, part: Part, *, is_first: bool) -> ChatChoice:
        answer = Answer(content=delta.text)
        if is_first:
            answer.role = "assistant"
        choice = ChatChoice(index=delta.number, finish_reason=delta.finish_reason)
        setattr(choice, part, answer)
        if self._body.logprobs:
            choice.logprobs = ChatLogprobs([self._logprob(each) for each in delta.tokens])
        return choice

    def _logprob(self, token: ScoredToken) -> TokenLogprob:
        assert token.logprobs
        top = [self._top(*each) for each in token.logprobs.top]
        chosen = self._top(token.id, token.logprobs.token)
        return TokenLogprob(chosen.token, chosen.logprob, chosen.bytes, top)

    def _top(self, token_id: int, logprob: float) -> TopLogprob:
        return TopLogprob(self._names.name(token_id), logprob, list(self._names.bytes(token_id)))

    def _completion(
        self,
        kind: Literal["chat.completion", "chat.completion.chunk"],
        choices: Sequence[ChatChoice],
        usage: Usage | None = None,
    ) -> ChatCompletion:
        return ChatCompletion(
            id=self._id,
            object=kind,
            created=self._created,
            model=self._name,
            choices=list(choices),
            usage=usage,
        )


routes = [Route("/v1/chat/completions", chat, methods=["POST"])]
