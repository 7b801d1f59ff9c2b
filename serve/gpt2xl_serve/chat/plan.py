"""What a request for a message asks of the engine."""

from collections.abc import Callable

from gpt2xl import Model, RequestError
from gpt2xl_serve.chat.messages import ChatRequest
from gpt2xl_serve.chat.template import ChatTemplate
from gpt2xl_serve.completions.options import generation_options
from gpt2xl_serve.completions.plan import (
    MOST_LOGPROBS,
    Plan,
    check_length,
    checked_range,
    seeded_texts,
)
from gpt2xl_serve.errors import ApiError


def chat_plan(
    request: ChatRequest, template: ChatTemplate, model: Model, check_room: Callable[[int], None]
) -> Plan:
    """What ``request`` asks for; arguments and errors as of `completion_plan`, and the ``template`` of the prompt."""
    n = checked_range("n", 1 if request.n is None else request.n, 1)
    check_room(n)
    if not request.messages:
        raise ApiError(400, "messages is an empty list: give one at least.", param="messages")
    try:
        ids = model.prompt_ids(template.prompt(request.messages))
    except RequestError as reason:
        raise ApiError(400, str(reason), param="messages") from None
    logprobs = None
    if request.logprobs:
        logprobs = checked_range("top_logprobs", request.top_logprobs or 0, 0, MOST_LOGPROBS)
    max_tokens = _max_tokens(request, model, len(ids))
    check_length(request, max_tokens)
    options = generation_options(
        request, max_tokens=max_tokens, logprobs=logprobs, prompt_logprobs=None
    )
    texts = seeded_texts([ids], options, n)
    return Plan(texts, n, n, echo=False, logprobs=logprobs, max_tokens=max_tokens)


def _max_tokens(request: ChatRequest, model: Model, prompt_tokens: int) -> int:
    given = (
        request.max_tokens
        if request.max_completion_tokens is None
        else request.max_completion_tokens
    )
    if given is None:
        return max(1, model.config.n_positions - prompt_tokens)
    return checked_range("max_tokens", given, 1)
