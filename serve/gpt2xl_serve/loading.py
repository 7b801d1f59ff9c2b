"""What answers while the model is loaded, and makes room for the application afterwards."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2xl_serve.endpoints.status import unready
from gpt2xl_serve.engine import fulfil
from gpt2xl_serve.errors import busy

Result = TypeVar("Result")


class Entrance:
    """An ASGI application that is there before the one that it leads to."""

    def __init__(self) -> None:
        self.app: ASGIApp = _loading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        await self.app(scope, receive, send)


async def _loading(scope: Scope, receive: Receive, send: Send) -> None:
    await _unready(scope["path"])(scope, receive, send)


def _unready(path: str) -> Response:
    if path == "/health":
        return unready("loading")
    return busy("the model is being loaded: try again in a moment.", 503).response()


def in_thread(function: Callable[[], Result]) -> asyncio.Future[Result]:
    """What ``function`` gives; its thread does not hold up the end of the process, as those of a pool do."""
    found = Future[Result]()
    Thread(target=fulfil, args=(function, found), name="gpt2xl-loading", daemon=True).start()
    return asyncio.wrap_future(found)
