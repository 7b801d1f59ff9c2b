"""A client of completions servers on plain sockets: it costs little beside the server, and can leave at any moment."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]
COMPLETIONS = "/v1/completions"
DATA = b"data: "


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    port: int
    host: str = "127.0.0.1"

    def head(self, method: str, path: str, length: int) -> bytes:
        """The head of a request with a body of ``length`` bytes."""
        return (
            f"{method} {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ).encode()


class StatusError(Exception):
    """The server has answered with an error."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


async def fetch(address: Address, path: str, body: Body | None = None) -> tuple[int, bytes]:
    """Status and body of the answer to a GET, or to a POST of ``body``."""
    async with _answer(address, path, body) as (status, parts):
        return status, b"".join([part async for part in parts])


async def complete(address: Address, body: Body, path: str = COMPLETIONS) -> Body:
    """The answer to a request.

    Raises:
        StatusError: it is an error.
    """
    status, content = await fetch(address, path, body)
    if status != 200:
        raise StatusError(status, content.decode("utf-8", "replace"))
    answer: Body = json.loads(content)
    return answer


async def stream(address: Address, body: Body, path: str = COMPLETIONS) -> AsyncIterator[Body]:
    """The chunks of a stream as they come.

    Raises:
        StatusError: the answer is an error, or a chunk is one.
    """
    async with _answer(address, path, body | {"stream": True}) as (status, parts):
        if status != 200:
            content = b"".join([part async for part in parts])
            raise StatusError(status, content.decode("utf-8", "replace"))
        rest = b""
        async for part in parts:
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                if line.startswith(DATA) and not line.startswith(b"data: [DONE]"):
                    chunk: Body = json.loads(line.removeprefix(DATA))
                    if "error" in chunk:
                        raise StatusError(status, str(chunk["error"]))
                    yield chunk


@asynccontextmanager
async def _answer(
    address: Address, path: str, body: Body | None
) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
    """The status and the parts of the body."""
    content = b"" if body is None else json.dumps(body).encode()
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        method = "GET" if body is None else "POST"
        writer.write(address.head(method, path, len(content)) + content)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        is_chunked = "transfer-encoding: chunked" in head
        yield int(head[0].split()[1]), _chunked(reader) if is_chunked else _rest(reader)
    finally:
        writer.close()


async def _chunked(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while size := int((await reader.readline()).split(b";")[0], 16):
        yield await reader.readexactly(size)
        await reader.readline()


async def _rest(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while part := await reader.read(1 << 16):
        yield part
