"""What becomes of clients that leave, or that are slow."""

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from starlette.types import Receive

Result = TypeVar("Result")


class ClientLeftError(Exception):
    """Nobody waits for the answer."""


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of ``work``, which is cancelled when the client leaves.

    Args:
        receive: of the request, whose body has been read.
        work: makes the answer.

    Raises:
        ClientLeftError: before ``work`` was done.
    """
    working = asyncio.create_task(work)
    watching = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((working, watching), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeftError
    finally:
        for task in (working, watching):
            await _ended(task)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _ended(task: Awaitable[Any]) -> None:
    assert isinstance(task, asyncio.Task)
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
