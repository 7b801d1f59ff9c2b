"""The bodies of requests to /v1/chat/completions, and their answers."""

from typing import Literal

import msgspec

from gpt2xl_serve.completions.request import TextRequest
from gpt2xl_serve.completions.response import FinishReason, Usage


class TextPart(msgspec.Struct):
    """A part of a message; only texts are taken."""

    type: Literal["text"]
    text: str


class Message(msgspec.Struct):
    """What somebody has said."""

    role: str
    content: str | list[TextPart]
    name: str | None = None

    @property
    def text(self) -> str:
        """The content, its parts joined."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ChatRequest(TextRequest, kw_only=True):
    """The body of a request to /v1/chat/completions."""

    messages: list[Message]
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    """OpenAI's newer name; what the context leaves, unless one is given."""
    logprobs: bool | None = None
    top_logprobs: int | None = None


class TopLogprob(msgspec.Struct):
    """A token that could have been chosen."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(msgspec.Struct):
    """A token of a message."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TopLogprob]


class ChatLogprobs(msgspec.Struct):
    """Those of all tokens."""

    content: list[TokenLogprob]


class Answer(msgspec.Struct, omit_defaults=True):
    """The model's message, or what a chunk adds to it."""

    role: Literal["assistant"] | msgspec.UnsetType = msgspec.UNSET
    content: str | msgspec.UnsetType = msgspec.UNSET


class ChatChoice(msgspec.Struct, kw_only=True):
    """A message, or in a stream what a chunk adds to one."""

    index: int
    message: Answer | msgspec.UnsetType = msgspec.UNSET
    delta: Answer | msgspec.UnsetType = msgspec.UNSET
    logprobs: ChatLogprobs | None = None
    finish_reason: FinishReason | None = None


class ChatCompletion(msgspec.Struct, kw_only=True):
    """An answer, or a chunk of a stream."""

    id: str
    object: Literal["chat.completion", "chat.completion.chunk"]
    created: int
    """Seconds since 1970."""
    model: str
    choices: list[ChatChoice]
    usage: Usage | None = None
