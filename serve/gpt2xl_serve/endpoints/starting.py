"""From a plan to texts in the queue."""

import asyncio
from collections.abc import Callable

from gpt2xl import RequestError
from gpt2xl_serve.completions.collecting import Started
from gpt2xl_serve.completions.options import refused
from gpt2xl_serve.completions.plan import Plan
from gpt2xl_serve.service import Service


async def started(service: Service, make_plan: Callable[[], Plan]) -> Started:
    """Queue the texts of a plan, which is made in a thread, since that may take a moment.

    Raises:
        ApiError: the request is refused, or the queue is full.
    """
    loop = asyncio.get_running_loop()

    def start() -> Started:
        try:
            plan = make_plan()
            run = service.engine.submit(plan.texts, loop)
        except RequestError as reason:
            raise refused(reason) from None
        return Started(plan, run, service.model.tokenizer)

    task = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:  # the thread goes on, and nobody waits for its texts
        task.add_done_callback(_give_up)
        raise


def _give_up(task: asyncio.Future[Started]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().run.cancel()
