"""A full queue, clients that leave, slow readers, and errors inside a step."""

import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

import httpx
from tests.serve.conftest import Running

from gpt2xl import GenerationOptions, Update
from gpt2xl.errors import BundleError
from gpt2xl_serve.engine import Engine

ENDLESS = {"prompt": "Once", "max_tokens": 60_000, "ignore_eos": True, "overflow": "slide"}
"""It runs longer than any test."""
SECONDS = 60


def engine_of(running: Running) -> Engine:
    return running.server.service.engine


def ask_and_read_nothing(connection: socket.socket, body: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def test_a_client_that_leaves_a_stream_frees_its_rows(serve: Callable[..., Running]) -> None:
    running = serve(rows=2)
    engine = engine_of(running)
    for _ in range(5):
        stream = running.stream(n=4, **ENDLESS)
        next(stream)
        assert (engine.batcher.running, engine.load) == (2, 4)
        stream.close()  # type: ignore[attr-defined]
        running.wait_until(lambda: engine.load == engine.batcher.running == 0)
        running.wait_until(lambda: engine.batcher.is_idle)
    assert engine.statistics.texts_cancelled == 20
    assert running.complete(prompt="Once", max_tokens=2)["usage"]["completion_tokens"] == 2


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
def test_a_client_that_leaves_a_plain_request_frees_its_rows(
    serve: Callable[..., Running], path: str
) -> None:
    running = serve(rows=2)
    engine = engine_of(running)
    stream = running.stream(**ENDLESS)
    next(stream)
    fields: dict[str, Any] = (
        {"input": [[262] * 1000] * 60} if "embed" in path else {"n": 3} | ENDLESS
    )
    with pytest.raises(httpx.ReadTimeout):
        running.client.post(path, json=fields, timeout=0.5)
    running.wait_until(lambda: engine.load == 1)
    running.wait_until(lambda: engine.batcher.running == 1)
    stream.close()  # type: ignore[attr-defined]


def test_a_prompt_that_waits_is_dropped_with_its_client(serve: Callable[..., Running]) -> None:
    running = serve(rows=1)
    stream = running.stream(**ENDLESS)
    next(stream)
    with socket.create_connection(("127.0.0.1", running.server.port)) as connection:
        body = b'{"prompt": "Once"}'
        connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        running.wait_until(lambda: engine_of(running).load == 2)
    running.wait_until(lambda: engine_of(running).load == 1)
    running.wait_until(lambda: engine_of(running).batcher.waiting == 0)
    stream.close()  # type: ignore[attr-defined]


def test_a_full_queue_answers_429_at_once(serve: Callable[..., Running]) -> None:
    running = serve(rows=1, queue=2)
    streams = [running.stream(**ENDLESS)]
    next(streams[0])
    for fields in ({"n": 3}, {"n": 4}):
        running.error({"prompt": "a"} | fields, status=429 if fields["n"] == 3 else 400)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(running.complete, prompt="a", max_tokens=1) for _ in range(2)]
        running.wait_until(lambda: engine_of(running).load == 3)
        error = running.error({"prompt": "a"}, status=429)
        assert (error["type"], "queue is full" in error["message"]) == ("rate_limit_error", True)
        running.error({"input": "a"}, "/v1/embeddings", status=429)
        streams[0].close()  # type: ignore[attr-defined]
        assert all(each.result()["choices"] for each in waiting)
    assert engine_of(running).statistics.requests_refused == 3


def test_jobs_take_turns_with_steps(serve: Callable[..., Running]) -> None:
    """An embedding of many texts lets others have a token between two of them."""
    running = serve(rows=2)
    engine = engine_of(running)
    stream = running.stream(**ENDLESS)
    next(stream)
    futures = engine.run([lambda: engine.statistics.new_tokens] * 20)
    counts = [each.result(SECONDS) for each in futures]
    assert counts == list(range(counts[0], counts[0] + 20))
    stream.close()  # type: ignore[attr-defined]


def test_a_reader_that_stands_still_holds_nobody_up(serve: Callable[..., Running]) -> None:
    running = serve(rows=2)
    body = b'{"prompt": "Once", "max_tokens": 900, "logprobs": 100, "stream": true, "ignore_eos": true}'
    with socket.create_connection(("127.0.0.1", running.server.port)) as connection:
        ask_and_read_nothing(connection, body)
        running.wait_until(lambda: engine_of(running).load == 1)
        assert running.complete(prompt="Once", max_tokens=2)["choices"]
        running.wait_until(lambda: engine_of(running).load == 0)  # its text is done all the same
        assert running.complete(prompt="Once", max_tokens=2)["choices"]


def test_a_reader_that_stands_still_is_cut_off(serve: Callable[..., Running]) -> None:
    running = serve(rows=2, keep_alive=1)
    body = b'{"prompt": "Once", "max_tokens": 60000, "logprobs": 100, "stream": true, "ignore_eos": true, "overflow": "slide"}'
    with socket.create_connection(("127.0.0.1", running.server.port)) as connection:
        ask_and_read_nothing(connection, body)
        running.wait_until(lambda: engine_of(running).load == 1)
        running.wait_until(lambda: engine_of(running).statistics.texts_cancelled == 1)


def test_an_error_of_one_text_ends_one_request(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve(rows=2)
    session, text = running.model.session, running.complete(prompt="Once", seed=1)["choices"]

    def fail(*_: object, **__: object) -> None:
        raise BundleError("the graph is broken.")

    with monkeypatch.context() as patch:
        patch.setattr(session, "forward_top", fail)
        error = running.error({"prompt": "Once"}, status=500)
        assert "the graph is broken" in error["message"]
        chunks = list(running.stream(prompt="Once"))
        assert chunks[-1]["error"]["type"] == "server_error"
    assert running.complete(prompt="Once", seed=1)["choices"] == text


def test_a_step_that_crashes_ends_what_runs_and_the_rest_goes_on(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts that have begun end with an error; those that waited are generated, as if nothing had happened."""
    running = serve(rows=1)
    engine = engine_of(running)
    stream = running.stream(**ENDLESS)
    next(stream)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(running.complete, prompt="The king", seed=1, max_tokens=5)
        running.wait_until(lambda: engine.load == 2)

        def crash() -> list[Update]:
            raise KeyError("a bug")

        monkeypatch.setattr(engine.batcher, "step", crash)
        rest = list(stream)
        assert "internal error" in rest[-1]["error"]["message"]
        (choice,) = waiting.result()["choices"]
    options = GenerationOptions(temperature=1, top_p=1, top_k=0, seed=1, max_new_tokens=5)
    assert choice["text"] == running.model.generate("The king", options).text
    assert engine.statistics.crashes == 1
    assert (engine.load, engine.batcher.running) == (0, 0)


def test_a_text_that_crashes_every_step_ends(
    serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve()

    def crash(self: object) -> list[Update]:
        if not self.is_idle:  # type: ignore[attr-defined]
            raise KeyError("a bug")
        return []

    with monkeypatch.context() as patch:
        patch.setattr("gpt2xl.batcher.Batcher.step", crash)
        assert "internal error" in running.error({"prompt": "Once"}, status=500)["message"]
    assert engine_of(running).statistics.crashes == 2
    assert running.complete(prompt="Once", max_tokens=1)["choices"]


def test_connections_that_drop_leave_nothing(serve: Callable[..., Running]) -> None:
    running = serve(rows=4)
    threads = threading.active_count()
    for number in range(60):
        with socket.create_connection(("127.0.0.1", running.server.port)) as connection:
            body = b'{"prompt": "Once", "max_tokens": 1000, "stream": true, "ignore_eos": true}'
            request = (
                b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            connection.sendall(request[: len(request) * (number % 6 + 1) // 6])
            if number % 12 == 11:
                connection.recv(100)
    running.wait_until(lambda: engine_of(running).load == 0)
    running.wait_until(lambda: engine_of(running).batcher.is_idle)
    assert running.complete(prompt="Once", max_tokens=1)["choices"]
    assert threading.active_count() <= threads + 12  # the pool that reads prompts
