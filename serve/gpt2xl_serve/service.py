"""What all endpoints share."""

import time
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
from starlette.requests import Request

from gpt2xl import Model
from gpt2xl_serve.bodies import Renamed, parsed, read_body
from gpt2xl_serve.chat.template import ChatTemplate
from gpt2xl_serve.engine import Engine
from gpt2xl_serve.errors import ApiError
from gpt2xl_serve.memory import MemoryNeed
from gpt2xl_serve.metrics import Metrics
from gpt2xl_serve.options import ServeOptions

Body = TypeVar("Body", bound=msgspec.Struct)
UNKNOWN_HEADER = "X-Ignored-Fields"


@dataclass
class Service:
    """A model that is served."""

    model: Model
    name: str
    """What clients call the model."""
    options: ServeOptions
    engine: Engine
    memory: MemoryNeed
    """What the server can take."""
    chat: ChatTemplate | None = None
    """Makes prompts of messages."""
    started: float = field(default_factory=time.time)
    is_draining: bool = False
    """Whether new requests are refused, since the server ends."""
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        """Begin to measure."""
        self.metrics = Metrics(self.engine)

    async def body(
        self, request: Request, kind: type[Body], renamed: Renamed = dict
    ) -> tuple[Body, dict[str, str]]:
        """The body of ``request``, and headers for its answer.

        Args:
            request: from the client.
            kind: of the body.
            renamed: gives fields the names that they have in ``kind``.

        Raises:
            ApiError: it is refused.
        """
        options = self.options
        content = await read_body(request, options.max_body, options.header_timeout)
        body, unknown = parsed(content, kind, renamed, ignore_unknown=options.ignore_unknown)
        shown = ", ".join(unknown).encode("ascii", "backslashreplace").decode()
        return body, {UNKNOWN_HEADER: _header_value(shown)} if unknown else {}

    def check_name(self, name: str | None) -> None:
        """Refuse the name of another model; none at all is this one's.

        Raises:
            ApiError: 404.
        """
        if name and name != self.name:
            raise ApiError(
                404,
                f"the model {name!r} is not served here: this is {self.name!r}.",
                param="model",
                code="model_not_found",
            )


def service_of(request: Request) -> Service:
    """The service that a request is for."""
    found = request.app.state.service
    assert isinstance(found, Service)
    return found


def _header_value(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)[:500]
