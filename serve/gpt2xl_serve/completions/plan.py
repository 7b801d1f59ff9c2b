"""What a request for texts asks of the engine."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gpt2xl import Model, RequestError
from gpt2xl_serve.completions.options import generation_options
from gpt2xl_serve.completions.request import CompletionRequest, Prompt
from gpt2xl_serve.engine import Text
from gpt2xl_serve.errors import ApiError

MAX_TOKENS = 16
"""OpenAI's default."""
MOST_LOGPROBS = 100


@dataclass(frozen=True)
class Plan:
    """The texts of a request, and how they become choices."""

    texts: list[Text]
    """``best_of`` of the first prompt, then those of the second, and so on."""
    n: int
    best_of: int
    echo: bool
    logprobs: int | None
    """Number of most probable tokens to report."""
    max_tokens: int
    """As asked for; 0 drops the token that is generated."""

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts, each counted once."""
        return sum(len(text.prompt_ids) for text in self.texts[:: self.best_of])


def completion_plan(
    request: CompletionRequest, model: Model, check_room: Callable[[int], None]
) -> Plan:
    """What ``request`` asks for; it may take a moment.

    Args:
        request: from the client.
        model: whose tokens prompts become.
        check_room: called with the number of texts, before anything is made of them.

    Raises:
        ApiError: it is refused.
    """
    if request.suffix:
        raise ApiError(
            400,
            "suffix is not supported: GPT-2 cannot infill, it continues texts only.",
            param="suffix",
        )
    n, best_of = _counts(request)
    prompts = prompts_of(request.prompt)
    check_room(len(prompts) * best_of)
    max_tokens = MAX_TOKENS if request.max_tokens is None else request.max_tokens
    echo, logprobs = bool(request.echo), _logprobs(request.logprobs)
    if max_tokens < 0 or (max_tokens == 0 and not echo):
        raise ApiError(
            400,
            f"max_tokens has to be >= 1, or 0 with echo, but is {max_tokens}.",
            param="max_tokens",
        )
    options = generation_options(
        request,
        max_tokens=max(1, max_tokens),
        logprobs=0 if logprobs is None and best_of > n else logprobs,
        prompt_logprobs=logprobs if echo else None,
    )
    first = secrets.randbits(32) if options.seed is None else options.seed
    prompt_ids = [_prompt_ids(each, request, model) for each in prompts]
    texts = [
        Text(ids, replace(options, seed=first + number * best_of + sequence))
        for number, ids in enumerate(prompt_ids)
        for sequence in range(best_of)
    ]
    return Plan(texts, n, best_of, echo, logprobs, max_tokens)


def prompts_of(prompt: Prompt | None) -> list[str | list[int]]:
    """The prompts of a request.

    Raises:
        ApiError: a list of several kinds, or an empty one.
    """
    if prompt is None or isinstance(prompt, str):
        return [prompt or ""]
    if not prompt:
        raise ApiError(400, "the list of prompts is empty: give one at least.", param="prompt")
    ids = [each for each in prompt if isinstance(each, int)]
    if len(ids) == len(prompt):
        return [ids]
    several = [each for each in prompt if not isinstance(each, int)]
    if len(several) < len(prompt) or len({type(each) for each in several}) > 1:
        raise ApiError(
            400,
            "prompt has to be a text, a list of texts, a list of token ids or a list of such lists.",
            param="prompt",
        )
    return several


def _counts(request: CompletionRequest) -> tuple[int, int]:
    n = 1 if request.n is None else request.n
    best_of = n if request.best_of is None else request.best_of
    if n < 1:
        raise ApiError(400, f"n has to be >= 1, but is {n}.", param="n")
    if best_of < n:
        raise ApiError(
            400, f"best_of has to be >= n, but they are {best_of} and {n}.", param="best_of"
        )
    if best_of > n and request.stream:
        raise ApiError(
            400, "best_of chooses among whole texts: leave it or stream out.", param="best_of"
        )
    return n, best_of


def _logprobs(count: int | None) -> int | None:
    if count is not None and not 0 <= count <= MOST_LOGPROBS:
        raise ApiError(
            400, f"logprobs has to be from 0 to {MOST_LOGPROBS}, but is {count}.", param="logprobs"
        )
    return count


def _prompt_ids(prompt: str | list[int], request: CompletionRequest, model: Model) -> list[int]:
    parse_special = request.parse_special is not False
    taken: str | Sequence[int] = prompt
    try:
        if isinstance(prompt, str) and request.add_special_tokens is False:
            taken = model.tokenizer.encode(
                prompt, parse_special=parse_special, add_special_tokens=False
            )
        last = request.truncate_prompt_tokens
        if last is None:
            return model.prompt_ids(taken, parse_special=parse_special)
        if last < 1:
            raise ApiError(
                400,
                f"truncate_prompt_tokens has to be >= 1, but is {last}.",
                param="truncate_prompt_tokens",
            )
        ids = model.tokenizer.encode(taken) if isinstance(taken, str) else list(taken)
        return model.prompt_ids(ids[-last:])
    except RequestError as reason:
        raise ApiError(400, str(reason), param="prompt") from None
