"""The OpenAPI document and the metrics tell what is there."""

import re
from collections.abc import Callable

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("prometheus_client", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

from prometheus_client.parser import text_string_to_metric_families
from starlette.routing import Route
from tests.serve.conftest import Running

from gpt2xl_serve.app import routes
from gpt2xl_serve.bodies import field_names
from gpt2xl_serve.completions.request import CompletionRequest


def values(running: Running) -> dict[tuple[str, ...], float]:
    """By name, then the values of labels."""
    answer = running.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_document_has_every_path_and_method(served: Callable[[str], Running]) -> None:
    document = served("fp32").client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    told = {(path, method) for path, methods in document["paths"].items() for method in methods}
    there = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert told == there


def test_the_document_describes_every_field_of_a_completion(
    served: Callable[[str], Running],
) -> None:
    schemas = served("fp32").client.get("/openapi.json").json()["components"]["schemas"]
    fields = schemas["CompletionRequest"]["properties"]
    assert fields.keys() == field_names(CompletionRequest)
    assert "infill" in fields["suffix"]["description"]
    assert "greedy" in fields["temperature"]["description"]  # inherited


def test_the_document_tells_of_the_key(
    serve: Callable[..., Running], served: Callable[[str], Running]
) -> None:
    assert "security" not in served("fp32").client.get("/openapi.json").json()
    client = serve(api_key="secret").client
    document = client.get("/openapi.json", headers={"Authorization": "Bearer secret"}).json()
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"


def test_metrics_count_texts_tokens_and_answers(serve: Callable[..., Running]) -> None:
    running = serve(rows=3, queue=5)
    prompt = [262] * 200
    for _ in range(2):
        running.complete(prompt=prompt, n=2, max_tokens=4, ignore_eos=True)
    running.error({"prompt": 1.5})
    running.client.get("/some/path")
    found = values(running)
    assert found["gpt2xl_rows",] == 3
    assert found["gpt2xl_queue_limit",] == 5
    assert found["gpt2xl_rows_in_use",] == found["gpt2xl_queue",] == 0
    assert found["gpt2xl_texts_submitted_total",] == 4
    assert found["gpt2xl_texts_total", "finished"] == 4
    assert found["gpt2xl_prompt_tokens_total",] == 800
    assert found["gpt2xl_new_tokens_total",] == 16
    assert found["gpt2xl_reused_prompt_tokens_total",] > 0
    assert found["gpt2xl_prefix_cache_bytes",] > 0
    assert found["gpt2xl_time_to_first_token_seconds_count",] == 4
    assert found["gpt2xl_time_between_tokens_seconds_count",] == 12
    assert found["gpt2xl_requests_total", "/v1/completions", "200"] == 2
    assert found["gpt2xl_requests_total", "/v1/completions", "400"] == 1
    assert found["gpt2xl_requests_total", "other", "404"] == 1
    assert found["process_resident_memory_bytes",] > 1e6


def test_metrics_show_what_runs_and_who_left(serve: Callable[..., Running]) -> None:
    running = serve(rows=1)
    stream = running.stream(
        prompt="Once", n=3, max_tokens=60_000, ignore_eos=True, overflow="slide"
    )
    next(stream)
    found = values(running)
    assert (found["gpt2xl_rows_in_use",], found["gpt2xl_queue",]) == (1, 2)
    stream.close()  # type: ignore[attr-defined]
    running.wait_until(lambda: values(running)["gpt2xl_rows_in_use",] == 0)
    assert values(running)["gpt2xl_texts_total", "cancelled"] == 3


def test_each_server_has_metrics_of_its_own(serve: Callable[..., Running]) -> None:
    first, second = serve(), serve()
    first.complete(prompt="Once", max_tokens=2)
    assert values(first)["gpt2xl_texts_submitted_total",] == 1
    assert values(second)["gpt2xl_texts_submitted_total",] == 0
