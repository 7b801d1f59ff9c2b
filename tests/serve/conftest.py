"""Servers of the demo, on ports of this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpt2xl import Model, load
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.rounding import calibration

if TYPE_CHECKING:
    import httpx

    from gpt2xl_serve.server import Server

DEMO = Path(__file__).parents[2] / "models" / "demo"
SECONDS = 60


@dataclass
class Running:
    """A server that runs in a thread, and a client of it."""

    server: Server
    client: httpx.Client
    thread: threading.Thread

    @property
    def model(self) -> Model:
        return self.server.service.model

    def complete(self, **fields: Any) -> dict[str, Any]:
        """The answer to a request for texts; it has to be 200."""
        answer = self.client.post("/v1/completions", json=fields)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def error(self, body: object, path: str = "/v1/completions", status: int = 400) -> Any:
        """The error with which a request is answered."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        answer = self.client.post(path, content=content, headers=headers)
        assert answer.status_code == status, answer.text
        error = answer.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["message"]
        assert "\n" not in error["message"]
        return error

    def stream(self, **fields: Any) -> Iterator[dict[str, Any]]:
        """The chunks of a stream, to its end."""
        with self.client.stream("POST", "/v1/completions", json=fields | {"stream": True}) as got:
            assert got.status_code == 200
            for line in got.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    yield json.loads(line.removeprefix("data: "))

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for what another thread does; at most a minute."""
        pause = threading.Event()
        for _ in range(SECONDS * 100):
            if holds():
                return
            pause.wait(0.01)
        raise AssertionError("it did not happen within a minute")


@dataclass
class Servers:
    """Starts servers, and ends them after the tests."""

    running: list[Running] = field(default_factory=list)

    def start(self, model: Model, draft: Model | None = None, **options: Any) -> Running:
        import httpx

        from gpt2xl_serve.options import ServeOptions
        from gpt2xl_serve.server import Server

        chosen = ServeOptions(**{"port": 0, "grace": 0.0} | options)
        server = Server(lambda: model, "demo", chosen, (lambda: draft) if draft else None)
        ready = threading.Event()
        thread = threading.Thread(target=server.run, args=(ready.set,))
        thread.start()
        assert ready.wait(SECONDS)
        client = httpx.Client(base_url=server.url, timeout=SECONDS, trust_env=False)
        self.running.append(Running(server, client, thread))
        return self.running[-1]

    def stop(self) -> None:
        for each in self.running:
            each.client.close()
            each.server.stop()
            each.thread.join(SECONDS)
            assert not each.thread.is_alive()


@pytest.fixture(scope="session")
def demo_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Call it with a precision for a bundle of the demo."""
    made: dict[str, Path] = {}

    def bundle(precision: str) -> Path:
        if precision not in made:
            out = tmp_path_factory.mktemp("serve") / precision
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(calibration, "BUDGET", 0)  # the export is faster
                export(DEMO, out, ExportOptions(precision))
            made[precision] = out
        return made[precision]

    return bundle


@pytest.fixture(scope="session")
def demo(demo_bundle: Callable[[str], Path]) -> Callable[[str], Model]:
    """Call it with a precision for the loaded demo."""
    made: dict[str, Model] = {}

    def model(precision: str) -> Model:
        if precision not in made:
            made[precision] = load(demo_bundle(precision), threads=1)
        return made[precision]

    return model


@pytest.fixture(scope="session")
def shared_servers() -> Iterator[Servers]:
    """Servers that live as long as the tests."""
    servers = Servers()
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def served(shared_servers: Servers, demo: Callable[[str], Model]) -> Callable[[str], Running]:
    """Call it with a precision for a server that tests share; they leave it idle."""
    made: dict[str, Running] = {}

    def running(precision: str) -> Running:
        if precision not in made:
            made[precision] = shared_servers.start(demo(precision), rows=4)
        return made[precision]

    return running


@pytest.fixture
def serve(demo: Callable[[str], Model]) -> Iterator[Callable[..., Running]]:
    """Call it with options for a server of this test's own, of the demo in int8."""
    servers = Servers()
    yield lambda **options: servers.start(demo("int8"), **options)
    servers.stop()
