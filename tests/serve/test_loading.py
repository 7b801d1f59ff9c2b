"""The server listens before its model is loaded."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

import httpx

from gpt2xl import BundleError, Model
from gpt2xl_serve.options import ServeOptions
from gpt2xl_serve.server import Server

SECONDS = 60
SLOW_MAIN = """
import sys, time
import gpt2xl
gpt2xl.load = lambda *_, **__: time.sleep(1000)
from gpt2xl_cli.__main__ import main
main()
"""


def health(url: str) -> httpx.Response:
    """The answer, once something listens."""
    end = time.monotonic() + SECONDS
    while True:
        try:
            return httpx.get(f"{url}/health", timeout=SECONDS, trust_env=False)
        except httpx.ConnectError:
            assert time.monotonic() < end


def test_requests_are_answered_503_until_the_model_is_loaded(
    demo: Callable[[str], Model],
) -> None:
    model, ready = Future[Model](), threading.Event()
    server = Server(lambda: model.result(SECONDS), "demo", ServeOptions(port=0, api_key="secret"))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.run, ready.set)
        loading = health(server.url)
        assert (loading.status_code, loading.json()) == (503, {"status": "loading"})
        for answer in (
            httpx.post(f"{server.url}/v1/completions", json={"prompt": "Once"}),
            httpx.get(f"{server.url}/"),
            httpx.get(f"{server.url}/nothing"),
        ):
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
            assert "being loaded" in answer.json()["error"]["message"]
        assert not ready.is_set()
        model.set_result(demo("int8"))
        assert ready.wait(SECONDS)
        assert health(server.url).json() == {"status": "ready"}
        assert httpx.get(f"{server.url}/v1/models").status_code == 401
        server.stop()
        running.result(SECONDS)


def test_a_model_that_cannot_be_loaded_ends_the_server() -> None:
    model, ready = Future[Model](), threading.Event()
    server = Server(lambda: model.result(SECONDS), "demo", ServeOptions(port=0))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.run, ready.set)
        url = server.url
        assert health(url).status_code == 503
        model.set_exception(BundleError("the weights are gone."))
        with pytest.raises(BundleError, match="the weights are gone"):
            running.result(SECONDS)
    assert not ready.is_set()
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)


def test_a_server_that_is_loading_can_be_stopped(demo: Callable[[str], Model]) -> None:
    model = Future[Model]()
    server = Server(lambda: model.result(SECONDS), "demo", ServeOptions(port=0))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(server.run)
        assert health(server.url).status_code == 503
        server.stop()
        running.result(SECONDS)
    model.set_result(demo("int8"))  # the thread ends


def test_the_address_is_refused_before_the_model_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    for options, said in (
        (("--host", "no.such.host.invalid", "--no-auth"), "cannot be listened at"),
        (("--host", "0.0.0.0"), "--no-auth"),
        ((), "config.json' does not exist"),
    ):
        command = [sys.executable, "-m", "gpt2xl_cli", "serve", "--port", "0", "-m", str(tmp_path)]
        done = subprocess.run(
            [*command, *options], capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert said in done.stderr
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_a_server_that_is_loading_at_once(
    number: signal.Signals, demo_bundle: Callable[[str], Path]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SLOW_MAIN, "serve", "-m", str(demo_bundle("int8"))]
    with subprocess.Popen(
        [*command, "--port", str(port)], stdout=-1, stderr=-1, text=True
    ) as process:
        assert health(f"http://127.0.0.1:{port}").status_code == 503
        os.kill(process.pid, number)
        out, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (128 + number, "")
    assert error.startswith("error: ")
    assert error.count("\n") == 1
