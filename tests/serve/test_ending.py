"""SIGTERM lets texts end, and refuses new requests meanwhile; two servers run beside each other."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

import httpx

from gpt2xl import Model, load

SECONDS = 60
Start = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def start(demo_bundle: Callable[[str], Path]) -> Iterator[Start]:
    """Call it with options for a server in a process of its own, and its address."""
    started = list[subprocess.Popen[str]]()

    def start(*options: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", "gpt2xl_cli", "serve", "--port", "0", "--threads", "1"]
        command += ["-m", str(demo_bundle("int8")), "--name", "demo", *options]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True))
        out = started[-1].stdout
        assert out
        line = out.readline()
        assert line.startswith("Serving demo at http://"), line
        return started[-1], line.split()[3].removesuffix("/v1")

    yield start
    for process in started:
        process.kill()
        process.communicate()


def stream(url: str, into: list[Any], begun: threading.Event, **fields: Any) -> None:
    body = {"prompt": "Once", "stream": True, "ignore_eos": True, "max_tokens": 150} | fields
    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=SECONDS) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: "):
                into.append(line.removeprefix("data: "))
                begun.set()


def texts_of(chunks: list[str]) -> str:
    return "".join(json.loads(each)["choices"][0]["text"] for each in chunks if each != "[DONE]")


def test_sigterm_lets_16_streams_end(start: Start, demo_bundle: Callable[[str], Path]) -> None:
    process, url = start("--grace", "60")
    found: list[list[str]] = [[] for _ in range(16)]
    begun = [threading.Event() for _ in found]
    with ThreadPoolExecutor(16) as pool:
        work = [
            pool.submit(stream, url, into, event, seed=number)
            for number, (into, event) in enumerate(zip(found, begun, strict=True))
        ]
        assert all(event.wait(SECONDS) for event in begun)
        os.kill(process.pid, signal.SIGTERM)
        health = httpx.get(f"{url}/health")
        while health.status_code == 200:
            health = httpx.get(f"{url}/health")
        assert (health.status_code, health.json()) == (503, {"status": "draining"})
        refused = httpx.post(f"{url}/v1/completions", json={"prompt": "a"})
        assert refused.status_code == 503
        assert "Retry-After" in refused.headers
        assert "ending" in refused.json()["error"]["message"]
        for each in work:
            each.result()
    model: Model = load(demo_bundle("int8"), threads=1)
    for number, chunks in enumerate(found):
        assert chunks[-1] == "[DONE]"
        if number % 5 == 0:
            alone = model.generate(
                "Once", temperature=1, top_k=0, ignore_eos=True, max_new_tokens=150, seed=number
            )
            assert texts_of(chunks) == alone.text
    out, error = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (0, "")
    assert error.startswith("Ending: ")


@pytest.mark.parametrize("twice", [False, True])
def test_the_grace_time_ends_what_is_left(start: Start, *, twice: bool) -> None:
    process, url = start("--grace", "1000" if twice else "0.2")
    chunks, begun = list[Any](), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(stream, url, chunks, begun, max_tokens=60_000, overflow="slide")
        assert begun.wait(SECONDS)
        os.kill(process.pid, signal.SIGINT)
        if twice:
            while httpx.get(f"{url}/health").status_code == 200:
                pass
            os.kill(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=SECONDS)
        assert work.exception() is None or isinstance(work.exception(), httpx.HTTPError)
    assert process.returncode == 0
    assert "Traceback" not in error
    assert "has ended before the text" in json.loads(chunks[-1])["error"]["message"]


def test_two_servers_of_one_bundle_and_one_that_was_killed(start: Start) -> None:
    answers = list[Any]()
    for _ in range(2):
        process, url = start("--queue", "0")
        answer = httpx.post(f"{url}/v1/completions", json={"prompt": "Once", "seed": 1})
        answers.append(answer.json()["choices"])
    port = url.rpartition(":")[2]
    process.kill()
    process.wait()
    _, url = start("--port", port)  # the last one counts
    answers.append(
        httpx.post(f"{url}/v1/completions", json={"prompt": "Once", "seed": 1}).json()["choices"]
    )
    assert answers[0] == answers[1] == answers[2]
