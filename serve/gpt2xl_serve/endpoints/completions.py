"""/v1/completions."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gpt2xl import Generation, RequestError
from gpt2xl_serve.completions.choices import ChoiceWriter, best, joined, updates_of, usage
from gpt2xl_serve.completions.logprobs import TokenNames
from gpt2xl_serve.completions.options import refused
from gpt2xl_serve.completions.plan import Plan, completion_plan
from gpt2xl_serve.completions.request import CompletionRequest
from gpt2xl_serve.completions.response import Choice, Completion
from gpt2xl_serve.completions.streaming import EventStream
from gpt2xl_serve.connections import until_disconnect
from gpt2xl_serve.engine import Run
from gpt2xl_serve.errors import json_response
from gpt2xl_serve.service import Service, service_of


async def completions(request: Request) -> Response:
    """Continue texts, or score them."""
    service = service_of(request)
    body, headers = await service.body(request, CompletionRequest)
    service.check_name(body.model)
    plan, run = await asyncio.to_thread(_submitted, body, service, asyncio.get_running_loop())
    answer = _Answer(body, service, plan, run)
    if body.stream:
        return EventStream(run, answer.chunks(), headers)
    try:
        whole = await until_disconnect(request.receive, answer.whole())
    finally:
        run.cancel()
    return json_response(whole, headers=headers)


def _submitted(
    body: CompletionRequest, service: Service, loop: asyncio.AbstractEventLoop
) -> tuple[Plan, Run]:
    engine = service.engine
    plan = completion_plan(body, service.model, engine.check_room)
    try:
        return plan, engine.submit(plan.texts, loop)
    except RequestError as reason:
        raise refused(reason) from None


class _Answer:
    """The answer to a request whose texts are running."""

    def __init__(self, body: CompletionRequest, service: Service, plan: Plan, run: Run) -> None:
        self._plan, self._run, self._name = plan, run, service.name
        self._id = f"cmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._with_usage = bool(body.stream_options and body.stream_options.include_usage)
        names = TokenNames(service.model.tokenizer, as_ids=bool(body.return_tokens_as_token_ids))
        self._writers = [
            ChoiceWriter(plan, number, names, returns_ids=bool(body.return_token_ids))
            for number in range(len(plan.texts))
        ]

    async def whole(self) -> Completion:
        """All choices."""
        parts: list[list[Choice]] = [[] for _ in self._writers]
        generations = dict[int, Generation]()
        async for number, update in updates_of(self._run, len(parts)):
            parts[number].append(self._writers[number].add(update))
            if update.generation:
                generations[number] = update.generation
        choices = self._chosen([joined(some) for some in parts], generations)
        return self._completion(choices, generations)

    async def chunks(self) -> AsyncIterator[Completion]:
        """What each token adds, where it adds something."""
        generations = dict[int, Generation]()
        async for number, update in updates_of(self._run, len(self._writers)):
            choice = self._writers[number].add(update)
            if update.generation:
                generations[number] = update.generation
            has_tokens = choice.logprobs and choice.logprobs.tokens
            if choice.text or choice.finish_reason or has_tokens or choice.token_ids:
                yield self._completion([choice])
        if self._with_usage:
            yield self._completion([], generations)

    def _chosen(self, choices: list[Choice], generations: dict[int, Generation]) -> list[Choice]:
        """The best ``n`` of each prompt, numbered anew."""
        plan, found = self._plan, list[Choice]()
        if plan.n == plan.best_of:
            return choices
        for start in range(0, len(choices), plan.best_of):
            several = range(start, start + plan.best_of)
            for number in best([generations[each] for each in several], plan.n):
                found.append(choices[start + number])
                found[-1].index = len(found) - 1
                if self._plan.logprobs is None:
                    found[-1].logprobs = None
        return found

    def _completion(
        self, choices: list[Choice], generations: dict[int, Generation] | None = None
    ) -> Completion:
        counts = None if generations is None else usage(self._plan, generations.values())
        return Completion(
            id=self._id, created=self._created, model=self._name, choices=choices, usage=counts
        )


routes = [Route("/v1/completions", completions, methods=["POST"])]
