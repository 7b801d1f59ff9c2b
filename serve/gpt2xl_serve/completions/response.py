"""The answers of /v1/completions."""

from typing import Literal

import msgspec

FinishReason = Literal["stop", "length"]


class TokenLogprobs(msgspec.Struct):
    """Log-probabilities of the tokens of a choice, in the shape of OpenAI's completions."""

    tokens: list[str] = []
    """The text of each; a part of a character is "bytes:" and its bytes."""
    token_logprobs: list[float | None] = []
    """Null for the first token of a prompt."""
    top_logprobs: list[dict[str, float] | None] = []
    """The most probable tokens of each position, and the one that stands there."""
    text_offset: list[int] = []
    """Where in the choice's text the token begins, in characters."""


class Usage(msgspec.Struct):
    """Counts of tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class EmbeddingUsage(msgspec.Struct):
    """Counts of tokens where none is generated."""

    prompt_tokens: int
    total_tokens: int


class Choice(msgspec.Struct, kw_only=True):
    """A text, or what a chunk of a stream adds to one."""

    index: int
    text: str
    logprobs: TokenLogprobs | None = None
    finish_reason: FinishReason | None = None
    stop_reason: str | None = None
    """The stop string that ended the text, or the rule: "sentence", "time" or "repetition"."""
    seed: int | msgspec.UnsetType = msgspec.UNSET
    """With the last chunk: what ``seed`` makes the text again, alone and with n 1."""
    prompt_token_ids: list[int] | msgspec.UnsetType = msgspec.UNSET
    token_ids: list[int] | msgspec.UnsetType = msgspec.UNSET


class Completion(msgspec.Struct, kw_only=True):
    """An answer, or a chunk of a stream."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    """Seconds since 1970."""
    model: str
    choices: list[Choice]
    usage: Usage | None = None
