"""What a request for texts asks of the engine."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from gpt2xl import GenerationOptions, Model, RequestError
from gpt2xl_serve.completions.options import generation_options
from gpt2xl_serve.completions.request import CompletionRequest, Prompt, TextRequest
from gpt2xl_serve.engine import Text
from gpt2xl_serve.errors import ApiError

MAX_TOKENS = 16
"""OpenAI's default."""
MOST_LOGPROBS = 100
MOST_SLIDING_TOKENS = 1 << 16


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
    check_length(request, max_tokens)
    options = generation_options(
        request,
        max_tokens=max(1, max_tokens),
        logprobs=0 if logprobs is None and best_of > n else logprobs,
        prompt_logprobs=logprobs if echo else None,
    )
    prompt_ids = [_prompt_ids(each, request, model) for each in prompts]
    texts = seeded_texts(prompt_ids, options, best_of)
    return Plan(texts, n, best_of, echo, logprobs, max_tokens)


def seeded_texts(
    prompts: Sequence[list[int]], options: GenerationOptions, count: int
) -> list[Text]:
    """``count`` texts of each prompt; their seeds follow each other from the one of ``options``, or from a drawn one."""
    first = secrets.randbits(32) if options.seed is None else options.seed
    return [
        Text(ids, replace(options, seed=first + number * count + sequence))
        for number, ids in enumerate(prompts)
        for sequence in range(count)
    ]


def check_length(request: TextRequest, max_tokens: int) -> None:
    """Refuse a text that would not end: with overflow "slide" the context ends none.

    Raises:
        ApiError: ``max_tokens`` is too large.
    """
    if request.overflow == "slide":
        checked_range("max_tokens", max_tokens, 0, MOST_SLIDING_TOKENS)


def prompts_of(prompt: Prompt | None, field: str = "prompt") -> list[str | list[int]]:
    """The prompts of a request, which are in its ``field``.

    Raises:
        ApiError: a list of several kinds, or an empty one.
    """
    if prompt is None or isinstance(prompt, str):
        return [prompt or ""]
    if not prompt:
        raise ApiError(400, f"{field} is an empty list: give one text at least.", param=field)
    ids = [each for each in prompt if isinstance(each, int)]
    if len(ids) == len(prompt):
        return [ids]
    several = [each for each in prompt if not isinstance(each, int)]
    if len(several) < len(prompt) or len({type(each) for each in several}) > 1:
        raise ApiError(
            400,
            f"{field} has to be a text, a list of texts, a list of token ids or a list of such lists.",
            param=field,
        )
    return several


def checked_range(name: str, value: int, lowest: int, highest: int | None = None) -> int:
    """``value``, which is that of the field ``name``.

    Raises:
        ApiError: it is below ``lowest`` or above ``highest``.
    """
    if value < lowest or (highest is not None and value > highest):
        allowed = f">= {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise ApiError(400, f"{name} has to be {allowed}, but is {value}.", param=name)
    return value


def _counts(request: CompletionRequest) -> tuple[int, int]:
    n = checked_range("n", 1 if request.n is None else request.n, 1)
    best_of = checked_range("best_of", n if request.best_of is None else request.best_of, 1)
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
    return None if count is None else checked_range("logprobs", count, 0, MOST_LOGPROBS)


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
        checked_range("truncate_prompt_tokens", last, 1)
        if isinstance(taken, str):
            taken = model.tokenizer.encode(taken, parse_special=parse_special)
        return model.prompt_ids(taken[-last:])
    except RequestError as reason:
        raise ApiError(400, str(reason), param="prompt") from None
