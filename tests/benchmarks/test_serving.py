"""The programs in benchmarks/serving against a server of the demo: its texts are right, and nobody brings it down."""

import asyncio
import importlib
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("prometheus_client", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

from tests.serve.conftest import Running, demo, demo_bundle, serve  # noqa: F401

PROGRAMS = Path(__file__).parents[2] / "benchmarks" / "serving"


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Call it with the name of a program."""
    monkeypatch.syspath_prepend(PROGRAMS)
    return importlib.import_module


def test_texts_of_many_clients_are_those_alone(
    program: Callable[[str], ModuleType],
    serve: Callable[..., Running],  # noqa: F811
) -> None:
    running = serve(rows=4)
    requests = program("texts").random_requests(texts=24, seed=1, most_tokens=12)
    address = program("client").Address(running.server.port)
    found = asyncio.run(program("equality").all_served(address, requests, clients=16))
    assert found == [each.expected(running.model) for each in requests]


def test_clients_that_leave_at_random_moments_leave_nothing(
    program: Callable[[str], ModuleType],
    serve: Callable[..., Running],  # noqa: F811
) -> None:
    running, rng = serve(rows=4), random.Random(1)
    engine = running.server.service.engine
    address = program("client").Address(running.server.port)
    seen: Any = asyncio.run(program("leaving").leave_often(address, 200, 16, rng, 0.1))
    assert seen["left"] > 50
    running.wait_until(lambda: engine.load == 0)
    running.wait_until(lambda: engine.batcher.running == engine.batcher.waiting == 0)
    assert running.complete(prompt="Once", max_tokens=2)["choices"]


def test_hostile_clients_are_refused_and_others_served(
    program: Callable[[str], ModuleType],
    serve: Callable[..., Running],  # noqa: F811
) -> None:
    hostile = program("hostile")
    running = serve(header_timeout=hostile.HEAD_SECONDS, max_body=hostile.MOST_BYTES)
    address = program("client").Address(running.server.port)
    assert asyncio.run(hostile.all_kinds(address, count=10))


def test_the_program_for_speed_measures_every_case(
    program: Callable[[str], ModuleType],
    serve: Callable[..., Running],  # noqa: F811
) -> None:
    load, figures = program("load"), program("figures_of_load")
    address = program("client").Address(serve().server.port)
    sizes = {"prompt": 4, "new": 4, "long": 50, "texts": 1, "vocabulary": 4000}
    found = asyncio.run(load.measured(address, [1, 3], sizes))
    assert list(found) == ["1 client", "3 clients", "a prompt of 50 beside 4"]
    lines = figures.table({"gpt2xl": figures.medians([found, found])}).splitlines()
    assert len(lines) == 2 + len(found)
    assert all(each.tokens_per_second > 0 for each in found.values())
