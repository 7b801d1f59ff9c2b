"""Runs the application: listens, and ends without losing texts."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn

from gpt2xl import Model
from gpt2xl.errors import RequestError
from gpt2xl_serve.app import make_app
from gpt2xl_serve.chat.template import ChatTemplate
from gpt2xl_serve.engine import Engine
from gpt2xl_serve.options import MEBIBYTE, ServeOptions
from gpt2xl_serve.protocol import ImpatientProtocol
from gpt2xl_serve.service import Service

MOST_HEAD_BYTES = 64 << 10
LAST_SECONDS = 2
"""What cancelled requests have to end after the grace time."""
POLL_SECONDS = 0.05


Action = Callable[[], object]


def _nothing() -> None:
    pass


class Server:
    """A server of one model.

    Args:
        model: to serve.
        name: what clients call it.
        options: of the server.

    Warns:
        Gpt2xlWarning: the texts of this bundle cannot share steps, and what to do about it.

    Raises:
        RequestError: the address cannot be listened at.
    """

    def __init__(self, model: Model, name: str, options: ServeOptions) -> None:
        engine = Engine(
            model,
            rows=options.rows,
            queue=options.queue,
            prefix_bytes=options.prefix_cache * MEBIBYTE,
        )
        self.service = Service(model, name, options, engine, _chat(model, options))
        self._socket = _listening(options)
        self._stopping: Callable[[], None] | None = None

    @property
    def port(self) -> int:
        """Where it listens; the one that was found where 0 was asked for."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """The address for a browser."""
        host = self.service.options.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self, on_ready: Action = _nothing, on_draining: Action = _nothing) -> None:
        """Serve until SIGINT, SIGTERM or `stop`; then finish what runs within the grace time.

        Args:
            on_ready: called once requests are answered.
            on_draining: called when no new ones are taken any more.
        """
        asyncio.run(self._run(on_ready, on_draining))

    def stop(self) -> None:
        """End, from any thread; the second time at once."""
        if self._stopping:
            self._stopping()

    async def _run(self, on_ready: Action, on_draining: Action) -> None:
        loop, asked = asyncio.get_running_loop(), asyncio.Queue[None]()
        uvicorn_server = _Uvicorn(self._config())

        def stop() -> None:
            loop.call_soon_threadsafe(asked.put_nowait, None)

        self._stopping = stop
        with _signals(stop):
            serving = asyncio.create_task(uvicorn_server.serve([self._socket]))
            while not (uvicorn_server.started or serving.done()):
                await asyncio.sleep(POLL_SECONDS / 10)
            if not serving.done():
                on_ready()
                await _first(asked.get(), serving)
                self.service.is_draining = True
                on_draining()
                await _first(
                    asked.get(),
                    self._idle(uvicorn_server),
                    asyncio.sleep(self.service.options.grace),
                )
                self.service.engine.stop()
                uvicorn_server.should_exit = True
            await serving
        self._stopping = None

    async def _idle(self, server: uvicorn.Server) -> None:
        while server.server_state.tasks or self.service.engine.load:
            await asyncio.sleep(POLL_SECONDS)

    def _config(self) -> uvicorn.Config:
        options = self.service.options
        protocol = partial(ImpatientProtocol, head_seconds=options.header_timeout)
        return uvicorn.Config(
            make_app(self.service),
            http=protocol,  # type: ignore[arg-type]
            ws="none",
            lifespan="on",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(1, round(options.keep_alive)),
            timeout_graceful_shutdown=LAST_SECONDS,
            limit_concurrency=options.max_connections,
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        )


def _chat(model: Model, options: ServeOptions) -> ChatTemplate | None:
    if options.chat_template is None:
        return None
    config, tokenizer = model.config, model.tokenizer
    named = {"bos_token": config.bos_token_id, "eos_token": min(config.eos_token_ids, default=None)}
    tokens = {name: tokenizer.decode([i]) for name, i in named.items() if i is not None}
    return ChatTemplate(options.chat_template, tokens)


class _Uvicorn(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `Server`: uvicorn would close the port at once, and end streams."""
        yield


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Within the block, SIGINT and SIGTERM call ``stop``; no effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _listening(options: ServeOptions) -> socket.socket:
    address = (options.host, options.port)
    try:
        family = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as reason:
        # Python adds the address to a message of the system; names that are not found have no such number.
        is_name = isinstance(reason, socket.gaierror)
        why = reason.strerror if is_name else os.strerror(reason.errno or 0)
        raise RequestError(
            f"{options.host}:{options.port} cannot be listened at: {why}. Choose another --host or --port."
        ) from None


async def _first(*works: object) -> None:
    """Wait for the first of ``works``, and cancel the others but tasks."""
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task, work in zip(tasks, works, strict=True):
        if task is not work:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
