"""Runs the application: listens, and ends without losing texts."""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial

import uvicorn

from gpt2xl import Model
from gpt2xl.errors import RequestError
from gpt2xl_serve.app import Entrance, make_app
from gpt2xl_serve.chat.template import ChatTemplate
from gpt2xl_serve.engine import Engine, fulfil
from gpt2xl_serve.memory import check_fits, memory_need
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
    """A server of one model, which listens from now on.

    Args:
        load: gives the model; `run` calls it, in a thread.
        name: what clients call the model.
        options: of the server.
        load_draft: gives a smaller model that drafts tokens, loaded with ``spinning=False``.

    Raises:
        RequestError: the address cannot be listened at, or the chat template cannot be used.
    """

    def __init__(
        self,
        load: Callable[[], Model],
        name: str,
        options: ServeOptions,
        load_draft: Callable[[], Model] | None = None,
    ) -> None:
        self._load, self._load_draft = load, load_draft
        self._name, self.options = name, options
        self._chat = ChatTemplate(options.chat_template) if options.chat_template else None
        self._entrance = Entrance()
        self._service: Service | None = None
        self._stopping: Callable[[], None] | None = None
        self._socket = _listening(options)

    @property
    def service(self) -> Service:
        """What is served, once the server is ready."""
        assert self._service, "the model has not been loaded"
        return self._service

    @property
    def port(self) -> int:
        """Where it listens; the one that was found where 0 was asked for."""
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        """The address for a browser."""
        host = self.options.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def run(self, on_ready: Action = _nothing, on_draining: Action = _nothing) -> None:
        """Load the model and serve until SIGINT, SIGTERM or `stop`; then finish what runs within the grace time.

        Args:
            on_ready: called once the model is loaded. Before, requests are answered 503, and signals are not handled.
            on_draining: called when no new ones are taken any more.

        Warns:
            Gpt2xlWarning: the texts of this bundle cannot share steps, and what to do about it.

        Raises:
            RequestError: the memory does not suffice.
            Exception: whatever ``load`` raises.
        """
        asyncio.run(self._run(on_ready, on_draining))

    def stop(self) -> None:
        """End, from any thread; the second time, or while the model is loaded, at once."""
        if self._stopping:
            self._stopping()

    async def _run(self, on_ready: Action, on_draining: Action) -> None:
        loop, asked = asyncio.get_running_loop(), asyncio.Queue[None]()
        uvicorn_server = _Uvicorn(self._config())

        def stop() -> None:
            loop.call_soon_threadsafe(asked.put_nowait, None)

        self._stopping = stop
        serving = asyncio.create_task(uvicorn_server.serve([self._socket]))
        while not (uvicorn_server.started or serving.done()):
            await asyncio.sleep(POLL_SECONDS / 10)
        try:
            loading = _in_thread(self._loaded)
            await _first(asked.get(), loading, serving)
            if loading.done():
                self._service = loading.result()
                with _signals(stop):
                    await self._serve(uvicorn_server, serving, asked, (on_ready, on_draining))
        finally:
            self._stopping = None
            uvicorn_server.should_exit = True
            await serving

    def _loaded(self) -> Service:
        model, options = self._load(), self.options
        prefix_bytes = options.prefix_cache * MEBIBYTE
        draft = self._load_draft() if self._load_draft else None
        engine = Engine(
            model,
            rows=options.rows,
            queue=options.queue,
            prefix_bytes=prefix_bytes,
            draft=draft,
        )
        memory = memory_need(model, engine.batcher.rows, prefix_bytes, draft)
        if model.device == "cpu":  # the rows of a GPU are allocated by now
            check_fits(memory)
        if self._chat:
            self._chat.special_tokens = _special_tokens(model)
        return Service(model, self._name, options, engine, memory, self._chat)

    async def _serve(
        self,
        uvicorn_server: uvicorn.Server,
        serving: asyncio.Task[None],
        asked: asyncio.Queue[None],
        actions: tuple[Action, Action],
    ) -> None:
        on_ready, on_draining = actions
        self.service.engine.start()
        self._entrance.app = make_app(self.service)
        on_ready()
        await _first(asked.get(), serving)
        self.service.is_draining = True
        on_draining()
        await _first(asked.get(), self._idle(uvicorn_server), asyncio.sleep(self.options.grace))
        self.service.engine.stop()
        uvicorn_server.should_exit = True
        await serving

    async def _idle(self, server: uvicorn.Server) -> None:
        while server.server_state.tasks or self.service.engine.load:
            await asyncio.sleep(POLL_SECONDS)

    def _config(self) -> uvicorn.Config:
        options = self.options
        protocol = partial(
            ImpatientProtocol,
            head_seconds=options.header_timeout,
            stalled_seconds=options.keep_alive,
        )
        return uvicorn.Config(
            self._entrance,
            http=protocol,  # type: ignore[arg-type]
            ws="none",
            lifespan="off",
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


def _in_thread(function: Callable[[], Service]) -> asyncio.Future[Service]:
    """What ``function`` gives; its thread does not hold up the end of the process, as those of a pool do."""
    found = Future[Service]()
    name, arguments = "gpt2xl-loading", (function, found)
    threading.Thread(target=fulfil, args=arguments, name=name, daemon=True).start()
    return asyncio.wrap_future(found)


def _special_tokens(model: Model) -> dict[str, str]:
    config, tokenizer = model.config, model.tokenizer
    named = {"bos_token": config.bos_token_id, "eos_token": min(config.eos_token_ids, default=None)}
    return {name: tokenizer.decode([i]) for name, i in named.items() if i is not None}


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
