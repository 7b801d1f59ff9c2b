"""Requests that schemathesis makes of the OpenAPI document: right ones, and wrong types in every field."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("prometheus_client", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

from tests.serve.conftest import Servers

from gpt2xl import load
from gpt2xl_serve.endpoints.documents import OPERATIONS

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)
MOST_TOKENS = 40
TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"


@pytest.fixture(scope="module")
def api(make_bundle: Callable[[], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of a server of a tiny random model, with chat."""
    template = tmp_path_factory.mktemp("chat") / "chat.jinja"
    template.write_text(TEMPLATE)
    servers = Servers()
    running = servers.start(load(make_bundle(), threads=1), chat_template=template)
    yield schemathesis.openapi.from_url(f"{running.server.url}/openapi.json")
    running.wait_until(lambda: running.server.service.engine.load == 0)
    servers.stop()


@pytest.mark.parametrize("mode", ["positive", "negative"])
@pytest.mark.parametrize("path", [each.path for each in OPERATIONS if each.body])
def test_every_answer_is_one_of_the_document_and_none_an_internal_error(
    api: Any, path: str, mode: str
) -> None:
    cases = api[path]["POST"].as_strategy(generation_mode=schemathesis.GenerationMode(mode))
    checks = [schemathesis.checks.CHECKS.get_one(name) for name in CHECKS]

    @settings(
        max_examples=30,
        deadline=None,
        derandomize=True,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def try_cases(data: st.DataObject) -> None:
        case = data.draw(cases)
        if isinstance(case.body, dict):
            for name in ("max_tokens", "max_completion_tokens", "min_tokens"):
                if isinstance(case.body.get(name), int):
                    case.body[name] %= MOST_TOKENS  # a text that slides may have many
        case.call_and_validate(checks=checks, timeout=60)

    try_cases()
