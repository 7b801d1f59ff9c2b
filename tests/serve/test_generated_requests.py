"""Requests that schemathesis makes of the OpenAPI document: right ones, and wrong types in every field."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")
schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")

from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import CHECKS
from tests.serve.conftest import Servers

from gpt2xl import load

CHECK_NAMES = (
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


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)
def test_every_answer_is_of_the_document_and_no_internal_error(case: Any) -> None:
    if isinstance(case.body, dict):
        for name in ("max_tokens", "max_completion_tokens", "min_tokens"):
            if isinstance(case.body.get(name), int):
                case.body[name] %= MOST_TOKENS  # a text that slides may have many
    case.call_and_validate(checks=[CHECKS.get_one(name) for name in CHECK_NAMES], timeout=60)
