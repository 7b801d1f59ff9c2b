"""The official Python client of OpenAI, unchanged."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("uvicorn", reason="the server needs the extra serve")
pytest.importorskip("httpx", reason="the tests of the server need httpx")
pytest.importorskip("openai", reason="needs OpenAI's client")

import openai
from tests.serve.conftest import Running


@pytest.fixture
def client(served: Callable[[str], Running]) -> Iterator["openai.OpenAI"]:
    url = served("fp32").server.url
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_models_are_listed(client: "openai.OpenAI") -> None:
    assert [model.id for model in client.models.list()] == ["demo"]
    assert client.models.retrieve("demo").owned_by == "gpt2xl"


def test_texts_lists_and_ids_are_continued(
    client: "openai.OpenAI", served: Callable[[str], Running]
) -> None:
    ids = served("fp32").model.tokenizer.encode("Once upon a")
    for prompt, count in (("Once upon a", 1), (["Once upon a"] * 2, 2), (ids, 1), ([ids] * 3, 3)):
        answer = client.completions.create(model="demo", prompt=prompt, temperature=0, max_tokens=1)
        assert [choice.text for choice in answer.choices] == [" time"] * count
        assert answer.choices[0].finish_reason == "length"
        assert answer.usage
        assert answer.usage.completion_tokens == count


def test_texts_are_streamed(client: "openai.OpenAI") -> None:
    whole = client.completions.create(model="demo", prompt="The king", seed=1, max_tokens=8)
    stream = client.completions.create(
        model="demo", prompt="The king", seed=1, max_tokens=8, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(stream)
    parts = [choice.text for chunk in chunks for choice in chunk.choices]
    assert "".join(parts) == whole.choices[0].text
    assert len(parts) > 1
    assert chunks[-1].usage == whole.usage


def test_log_probabilities_of_prompt_and_text(client: "openai.OpenAI") -> None:
    answer = client.completions.create(
        model="demo", prompt="Once upon", echo=True, logprobs=5, temperature=0, max_tokens=2
    )
    found = answer.choices[0].logprobs
    assert found
    assert found.tokens == ["Once", " upon", " a", " time"]
    assert found.text_offset == [0, 4, 9, 11]
    assert found.token_logprobs
    assert found.token_logprobs[0] is None
    assert found.top_logprobs
    assert [len(top) for top in found.top_logprobs[1:]] == [5, 5, 5]


def test_embeddings_as_numbers_and_as_base64(
    client: "openai.OpenAI", served: Callable[[str], Running]
) -> None:
    texts = ["a king", "Once upon a time"]
    model = served("fp32").model
    for encoding in (openai.omit, "float", "base64"):
        answer = client.embeddings.create(model="demo", input=texts, encoding_format=encoding)
        for text, item in zip(texts, answer.data, strict=True):
            mean = model.features(text, pooling="mean")
            found: object = item.embedding
            if isinstance(found, str):
                import base64

                found = np.frombuffer(base64.b64decode(found), "<f4")
            assert np.allclose(np.array(found), mean / np.linalg.norm(mean), atol=1e-5)
    raw = client.embeddings.create(
        model="demo", input="a king", extra_body={"normalize": False, "pooling": "last"}
    )
    assert np.allclose(raw.data[0].embedding, model.features("a king", pooling="last"), atol=1e-4)


def test_errors_are_the_clients_own_classes(client: "openai.OpenAI") -> None:
    create = client.completions.create
    with pytest.raises(openai.BadRequestError, match="temperature") as bad:
        create(model="demo", prompt="Once", temperature=-1)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError, match="'other' is not served here"):
        create(model="other", prompt="Once")
    with pytest.raises(openai.BadRequestError, match="cannot infill"):
        create(model="demo", prompt="Once", suffix="end")
    with pytest.raises(openai.BadRequestError, match="the prompt has"):
        create(model="demo", prompt=[5] * 5000)
    with pytest.raises(openai.NotFoundError, match="base model"):
        client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": "Hello"}]
        )


def test_a_wrong_key_and_a_full_queue_are_the_clients_own_classes(
    serve: Callable[..., Running],
) -> None:
    running = serve(api_key="secret", queue=0, rows=1)
    url = f"{running.server.url}/v1"
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as wrong,
        pytest.raises(openai.AuthenticationError, match="API key"),
    ):
        wrong.models.list()
    with openai.OpenAI(base_url=url, api_key="secret", max_retries=0) as client:
        stream = client.completions.create(
            model="demo",
            prompt="Once",
            max_tokens=1000,
            stream=True,
            extra_body={"ignore_eos": True},
        )
        next(iter(stream))
        with pytest.raises(openai.RateLimitError, match="queue is full") as full:
            client.completions.create(model="demo", prompt="Once")
        assert full.value.response.headers["Retry-After"] == "1"
        stream.close()
