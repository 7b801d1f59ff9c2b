"""From texts that run to the answer of their request, whole or as a stream."""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from gpt2xl_serve.completions.collecting import Started
from gpt2xl_serve.completions.streaming import EventStream
from gpt2xl_serve.connections import until_disconnect
from gpt2xl_serve.errors import json_response


class Writer(Protocol):
    """Writes what texts give in the types of an endpoint."""

    async def whole(self) -> msgspec.Struct:
        """The whole answer."""

    def chunks(self) -> AsyncIterator[msgspec.Struct]:
        """The answer in parts."""


async def answered(
    request: Request, begun: Started, writer: Writer, headers: dict[str, str], *, streams: bool
) -> Response:
    """The answer; the texts end with it, and where the client leaves."""
    if streams:
        return EventStream(begun.run, writer.chunks(), headers)
    try:
        whole = await until_disconnect(request.receive, writer.whole())
    finally:
        begun.run.cancel()
    return json_response(whole, headers=headers)
