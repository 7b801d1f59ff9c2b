"""Tokens, embeddings, models, health, chat with a template."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")

from tests.serve.conftest import Running

import gpt2xl
from gpt2xl import GenerationOptions, RequestError
from gpt2xl_serve.options import ServeOptions
from gpt2xl_serve.server import Server

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"
MESSAGES = [
    {"role": "system", "content": "Be kind."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Good "}, {"type": "text", "text": "day"}],
    },
]
PROMPT = "system: Be kind.\nuser: Good day\nassistant:"


@pytest.fixture
def chat(serve: Callable[..., Running], tmp_path: Path) -> Running:
    template = tmp_path / "chat.jinja"
    template.write_text(TEMPLATE)
    return serve(chat_template=template)


def test_texts_become_ids_and_ids_become_texts(served: Callable[[str], Running]) -> None:
    running = served("fp32")
    encode, text = running.model.tokenizer.encode, "Once <|endoftext|> é"
    for body, ids in (
        ({"prompt": text, "add_special_tokens": False}, encode(text)),
        ({"content": text}, encode(text)),
        ({"prompt": text, "parse_special": False}, encode(text, parse_special=False)),
        ({"prompt": ""}, []),
    ):
        answer = running.client.post("/tokenize", json=body).json()
        assert (answer["tokens"], answer["count"]) == (ids, len(ids))
        assert len(answer["pieces"]) == len(ids)
        assert answer["max_model_len"] == running.model.config.n_positions
    answer = running.client.post("/detokenize", json={"tokens": encode(text)}).json()
    assert answer == {"prompt": text, "content": text}
    info = running.client.get("/tokenizer_info").json()
    assert (info["eos_token"], info["vocab_size"]) == ("<|endoftext|>", 4352)
    assert "missing" in running.error({}, "/tokenize")["message"]
    assert "9999" in running.error({"tokens": [9999]}, "/detokenize")["message"]


def test_what_the_server_says_of_itself(served: Callable[[str], Running]) -> None:
    running = served("fp32")
    get = running.client.get
    assert get("/health").json() == {"status": "ready"}
    assert get("/version").json() == {"version": gpt2xl.__version__}
    (model,) = get("/v1/models").json()["data"]
    assert (model["id"], model["max_model_len"]) == ("demo", 1024)
    assert get("/v1/models/demo").json() == model
    assert "<html" in get("/").text


def test_embeddings_are_checked(served: Callable[[str], Running]) -> None:
    running = served("fp32")
    for body, param in (
        ({"input": []}, "input"),
        ({}, "input"),
        ({"input": "a", "dimensions": 3}, "dimensions"),
        ({"input": "a", "encoding_format": "hex"}, "encoding_format"),
        ({"input": [[5] * 2000]}, "input"),
    ):
        assert running.error(body, "/v1/embeddings")["param"] == param
    width = running.model.config.n_embd
    answer = running.client.post("/v1/embeddings", json={"input": [5, 6, 7], "dimensions": width})
    assert len(answer.json()["data"]) == 1
    assert answer.json()["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_a_template_makes_chat_of_texts(chat: Running) -> None:
    asked: dict[str, Any] = {"messages": MESSAGES, "seed": 1, "max_completion_tokens": 8}
    asked |= {"logprobs": True, "top_logprobs": 2}
    whole = chat.client.post("/v1/chat/completions", json=asked).json()
    options = GenerationOptions(temperature=1, top_k=0, seed=1, max_new_tokens=8)
    alone = chat.model.generate(PROMPT, options)
    (choice,) = whole["choices"]
    assert choice["message"] == {"role": "assistant", "content": alone.text}
    assert whole["usage"]["prompt_tokens"] == len(alone.prompt_ids)
    content = choice["logprobs"]["content"]
    assert bytes(byte for token in content for byte in token["bytes"]).decode() == alone.text
    assert [len(token["top_logprobs"]) for token in content] == [2] * len(content)


def test_chat_is_streamed_for_openais_client(chat: Running) -> None:
    openai = pytest.importorskip("openai", reason="needs OpenAI's client")
    with openai.OpenAI(base_url=f"{chat.server.url}/v1", api_key="none") as client:
        asked: dict[str, Any] = {"model": "demo", "messages": MESSAGES, "seed": 2, "n": 2}
        whole = client.chat.completions.create(max_tokens=6, **asked)
        texts = ["", ""]
        for chunk in client.chat.completions.create(max_tokens=6, stream=True, **asked):
            assert chunk.object == "chat.completion.chunk"
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]


def test_what_a_template_refuses_is_a_bad_request(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages[0].content }}{{ raise_exception('no roles here') }}")
    running = serve(chat_template=template)
    body: dict[str, Any] = {"messages": MESSAGES}
    error = running.error(body, "/v1/chat/completions")
    assert "no roles here" in error["message"]
    assert running.error({"messages": []}, "/v1/chat/completions")["param"] == "messages"
    image = [{"role": "user", "content": [{"type": "image_url"}]}]
    assert running.error({"messages": image}, "/v1/chat/completions")["param"] == "messages"


def test_a_template_runs_in_a_sandbox(serve: Callable[..., Running], tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages.__class__.__mro__[1].__subclasses__() }}")
    error = serve(chat_template=template).error({"messages": MESSAGES}, "/v1/chat/completions")
    assert "unsafe" in error["message"]


def test_a_template_that_cannot_be_used_is_named_before_the_model_is_loaded(
    tmp_path: Path,
) -> None:
    for content, said in (
        (b"{% for %}", "is refused"),
        (b"\xff", "not UTF-8"),
        (None, "cannot be used"),
    ):
        path = tmp_path / "chat.jinja"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(RequestError, match=said):
            Server(pytest.fail, "demo", ServeOptions(port=0, chat_template=path))
