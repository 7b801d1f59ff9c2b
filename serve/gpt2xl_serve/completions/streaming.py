"""Streams of server-sent events.

sse-starlette is not used: it ends streams at SIGTERM, which this server lets finish, and keeps global state for that.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gpt2xl_serve.connections import ClientLeftError, until_disconnect
from gpt2xl_serve.engine import Run
from gpt2xl_serve.errors import ApiError, ErrorResponse

PING_SECONDS = 15.0
"""After which a comment is sent, so that proxies keep the connection."""
PING = b": waiting\n\n"
DONE = b"data: [DONE]\n\n"


class EventStream(Response):
    """Sends the chunks of a run as they come; the run is cancelled when the client leaves.

    Args:
        run: what the chunks are made of.
        chunks: Structs to send.
        headers: of the answer.
    """

    media_type = "text/event-stream"

    def __init__(
        self, run: Run, chunks: AsyncIterator[msgspec.Struct], headers: dict[str, str]
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"} | headers)
        del self.headers["content-length"]
        self._run, self._chunks = run, chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        with suppress(ClientLeftError):
            try:
                await until_disconnect(receive, self._send_all(send))
            finally:
                self._run.cancel()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for event in _with_pings(_events(self._chunks)):
            await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _events(chunks: AsyncIterator[msgspec.Struct]) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield _event(chunk)
        yield DONE
    except ApiError as error:  # the status has been sent: clients look for "error" in a chunk
        yield _event(ErrorResponse(error.content))


async def _with_pings(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """``events``, and a comment whenever none has come for a while."""
    waiting = asyncio.ensure_future(anext(events, None))
    try:
        while True:
            await asyncio.wait((waiting,), timeout=PING_SECONDS)
            if not waiting.done():
                yield PING
            elif (event := waiting.result()) is not None:
                yield event
                waiting = asyncio.ensure_future(anext(events, None))
            else:
                return
    finally:
        waiting.cancel()


def _event(content: msgspec.Struct) -> bytes:
    return b"data: " + msgspec.json.encode(content) + b"\n\n"
