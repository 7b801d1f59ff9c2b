"""Who may use a server: keys, hosts, origins, sizes and times."""

import socket
from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

from tests.serve.conftest import Running

from gpt2xl import RequestError
from gpt2xl_serve.options import ServeOptions


def test_a_key_is_asked_for_but_not_for_health_and_page(serve: Callable[..., Running]) -> None:
    client = serve(api_key="secret").client
    for path in ("/v1/models", "/version", "/tokenizer_info", "/nothing", "/page"):
        refused = client.get(path)
        assert refused.status_code == 401, path
        assert refused.json()["error"]["type"] == "authentication_error"
    for key in ("secrets", "secre", "x", "sécret"):
        wrong = {b"Authorization": f"Bearer {key}".encode()}
        assert client.get("/v1/models", headers=wrong).status_code == 401
    right = {"Authorization": "Bearer secret"}
    assert client.get("/v1/models", headers=right).status_code == 200
    assert client.get("/health").json() == {"status": "ready"}
    assert "html" in client.get("/").headers["Content-Type"]


def test_a_local_server_is_not_reached_by_another_name(serve: Callable[..., Running]) -> None:
    client = serve().client
    for host in ("evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "["):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 403
    for host in ("localhost", "127.0.0.1:1", "[::1]:80", "LOCALHOST"):
        assert client.get("/v1/models", headers={"Host": host}).status_code == 200


def test_pages_of_other_origins_need_to_be_allowed(serve: Callable[..., Running]) -> None:
    asked = {"Origin": "http://a.example", "Access-Control-Request-Method": "POST"}
    strict, open_ = serve().client, serve(cors=("http://a.example",)).client
    assert "Access-Control-Allow-Origin" not in strict.get("/v1/models", headers=asked).headers
    allowed = open_.options("/v1/completions", headers=asked)
    assert allowed.headers["Access-Control-Allow-Origin"] == "http://a.example"
    refused = open_.post("/v1/completions", json={"prompt": 1.5}, headers=asked)
    assert refused.status_code == 400
    assert refused.headers["Access-Control-Allow-Origin"] == "http://a.example"
    other = open_.get("/v1/models", headers={"Origin": "http://b.example"})
    assert "Access-Control-Allow-Origin" not in other.headers


def test_what_a_form_can_send_is_refused(serve: Callable[..., Running]) -> None:
    client = serve().client
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = client.post("/v1/completions", content=b"{}", headers={"Content-Type": kind})
        assert answer.status_code == 415
        assert "application/json" in answer.json()["error"]["message"]


def test_a_body_over_the_limit_is_refused(serve: Callable[..., Running]) -> None:
    running = serve(max_body=1000)
    assert running.complete(prompt="a" * 900, max_tokens=1)
    error = running.error({"prompt": "a" * 1000}, status=413)
    assert "1000 bytes" in error["message"]

    def endless() -> Iterator[bytes]:
        yield from [b"a" * 400] * 3

    headers = {"Content-Type": "application/json"}
    answer = running.client.post("/v1/completions", content=endless(), headers=headers)
    assert answer.status_code == 413


def test_slow_clients_are_not_waited_for(serve: Callable[..., Running]) -> None:
    running = serve(header_timeout=0.3)
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    for sent, answered in (
        (b"", b""),
        (head, b""),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /he", b"200 OK"),
        (head + b"Content-Length: 100\r\n\r\n{", b"408"),
    ):
        with socket.create_connection(("127.0.0.1", running.server.port)) as connection:
            connection.settimeout(30)
            connection.sendall(sent)
            received = b""
            while part := connection.recv(4096):  # until the server closes
                received += part
            assert answered in received
    assert running.client.get("/health").status_code == 200


def test_open_servers_need_a_key_or_a_clear_word() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", ""):
        with pytest.raises(RequestError, match="--no-auth"):
            ServeOptions(host=host)
        assert ServeOptions(host=host, no_auth=True)
        assert ServeOptions(host=host, api_key="secret")
    for key in ("", " ", "sécret", "two words", "line\n"):
        with pytest.raises(RequestError, match="api_key has to be ASCII"):
            ServeOptions(api_key=key)
    with pytest.raises(RequestError, match="grace"):
        ServeOptions(grace=-1)
    with pytest.raises(RequestError, match="port has to be <= 65535"):
        ServeOptions(port=70000)
