"""Whatever a client sends, it gets one sentence and a status below 500."""

import json
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

from tests.serve.conftest import Running

from gpt2xl_serve.bodies import field_names
from gpt2xl_serve.completions.request import CompletionRequest

WRONG: list[Any] = [
    -1, 0, 1.5, 1e308, 1e-320, 10**400, True, "", "text", "\ud800", [], [[]], [None], ["a", 1], {}, {"a": {}}, {"x": 1}, [-1],
    [10**30], {"99999999": 1}, {"-1": 1}, {"1": "a"}, [[1, "a"]],
]  # fmt: skip
PATHS = ("/v1/completions", "/v1/embeddings", "/tokenize", "/detokenize", "/v1/chat/completions")


@pytest.mark.parametrize("name", sorted(field_names(CompletionRequest)))
def test_wrong_values_are_never_an_internal_error(
    served: Callable[[str], Running], name: str
) -> None:
    running = served("fp32")
    for value in WRONG:
        body = {"prompt": "Once", "max_tokens": 1} | {name: value}
        answer = running.client.post(
            "/v1/completions",
            content=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in (200, 400, 404), (name, value, answer.text)
        if answer.status_code != 200 and not body.get("stream"):
            assert answer.json()["error"]["message"], (name, value)


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"prompt": "a", "heat": 1}, "heat", "the field 'heat' is not known here: leave"),
        ({"prompt": "a", "topk": 1}, "topk", "'topk' is not known here (did you mean 'top_k'?): leave"),
        ({"prompt": "a", "Max_Token": 1}, "Max_Token", "did you mean 'max_tokens'?"),
        ({"prompt": "a", "max_tokens": "many"}, "max_tokens", "max_tokens: expected `int"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens", "max_tokens has to be >= 1, or 0 with echo"),
        ({"prompt": "a", "max_tokens": -1}, "max_tokens", "max_tokens has to be >= 1"),
        ({"prompt": "a", "logprobs": 101}, "logprobs", "logprobs has to be from 0 to 100"),
        ({"prompt": "a", "n": 0}, "n", "n has to be >= 1"),
        ({"prompt": "a", "n": 10**9}, None, "the server takes 132 at a time"),
        ({"prompt": "a", "n": 3, "best_of": 2}, "best_of", "best_of has to be >= n"),
        ({"prompt": "a", "best_of": 2, "stream": True}, "best_of", "whole texts"),
        ({"prompt": "a", "suffix": "b"}, "suffix", "cannot infill"),
        ({"prompt": []}, "prompt", "prompt is an empty list"),
        ({"prompt": ["a", 1]}, "prompt", "prompt has to be a text"),
        ({"prompt": [4352]}, "prompt", "vocabulary"),
        ({"prompt": "a", "stop": [""]}, "stop", "stop holds an empty text"),
        ({"prompt": "a", "min_tokens": -1}, "min_tokens", "min_tokens has to be >= 0"),
        ({"prompt": "a", "logit_bias": {"9999": 1}}, "logit_bias", "logit_bias names id 9999"),
        ({"prompt": "a", "tfs_z": 0.5}, "tfs_z", "tfs_z is not supported"),
        ({"prompt": "a", "mirostat": 1}, "mirostat", "version 1 is not supported"),
        ({"prompt": "a", "n_predict": 1, "max_tokens": 2}, "n_predict", "the same as max_tokens"),
        ({"prompt": "a", "overflow": "slide", "max_tokens": 10**6}, "max_tokens", "65536"),
        ({"prompt": "a", "regex": "a", "choice": ["b"]}, "choice", "exclude each other"),
        ({"prompt": "a", "stream_options": {"foo": 1}}, "stream_options", "foo"),
    ],
)  # fmt: skip
def test_errors_name_the_field_and_what_is_allowed(
    served: Callable[[str], Running], body: dict[str, Any], param: str | None, said: str
) -> None:
    error = served("fp32").error(body)
    assert said in error["message"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", PATHS[:-1])
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1]", b'"a"', b"null", b"\xff\xfe", b'{"prompt": "\xff"}', b'{"prompt": "\\ud800"}',
     b"[" * 100_000, b'{"a":' * 50_000, b'{"prompt": 1e999}'],
)  # fmt: skip
def test_what_is_no_json_is_refused(
    served: Callable[[str], Running], path: str, body: bytes
) -> None:
    served("fp32").error(body, path)


def test_paths_and_methods_that_do_not_exist(served: Callable[[str], Running]) -> None:
    client = served("fp32").client
    for answer, status in (
        (client.get("/v1/nothing"), 404),
        (client.get("/page/nothing"), 404),
        (client.get("/page/../app.py"), 404),
        (client.get("/page/%2e%2e/app.py"), 404),
        (client.get("/v1/completions"), 405),
        (client.post("/health"), 405),
        (client.get("/v1/models/other"), 404),
    ):
        assert answer.status_code == status
        assert answer.json()["error"]["message"]


def test_a_field_that_is_not_known_may_be_named_and_ignored(serve: Callable[..., Running]) -> None:
    running = serve(ignore_unknown=True)
    answer = running.client.post(
        "/v1/completions", json={"prompt": "a", "foo": 1, "bär\r\nx": 2, "max_tokens": 1}
    )
    assert answer.status_code == 200
    assert answer.headers["X-Ignored-Fields"] == "foo, b\\xe4r??x"
