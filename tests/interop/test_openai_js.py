"""OpenAI's client for JavaScript, on Node, against the server."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("msgspec", reason="the server needs the extra serve")
pytest.importorskip("prometheus_client", reason="the server needs the extra serve")

import gpt2xl
from gpt2xl_serve.options import ServeOptions
from gpt2xl_serve.server import Server

HERE = Path(__file__).parent
NODE_MODULES = Path(os.environ.get("GPT2XL_NODE_MODULES", HERE / "node_modules")).resolve()
SECONDS = 60
pytestmark = pytest.mark.filterwarnings("ignore::gpt2xl.Gpt2xlWarning")  # int4 shares no steps


@pytest.fixture(autouse=True)
def no_host_is_looked_up() -> None:
    """The server looks its own address up."""


@pytest.fixture(scope="module")
def answers(model: gpt2xl.Model) -> dict[str, Any]:
    """What complete.mjs prints."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    if not (NODE_MODULES / "openai").is_dir():
        pytest.skip(f"{NODE_MODULES} (GPT2XL_NODE_MODULES names another) has no openai")
    server = Server(lambda: model, "demo", ServeOptions(port=0))
    ready = threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set,))
    thread.start()
    try:
        assert ready.wait(SECONDS)
        command = [node, str(HERE / "complete.mjs"), str(NODE_MODULES), server.url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    finally:
        server.stop()
        thread.join(SECONDS)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_texts_and_streams_are_those_of_generate(
    answers: dict[str, Any], model: gpt2xl.Model
) -> None:
    options = gpt2xl.GenerationOptions(temperature=1, top_p=1, top_k=0, seed=1, max_new_tokens=8)
    assert answers["text"] == answers["streamed"] == model.generate("The king", options).text
    assert answers["usage"]["completion_tokens"] == 8
    assert answers["models"] == ["demo"]


def test_prompts_are_scored(answers: dict[str, Any], model: gpt2xl.Model) -> None:
    for prompt, logprobs in zip(("Once upon a time", "The king"), answers["scored"], strict=True):
        assert "".join(logprobs["tokens"]) == prompt
        assert logprobs["token_logprobs"][0] is None
        for value, top in zip(
            logprobs["token_logprobs"][1:], logprobs["top_logprobs"][1:], strict=True
        ):
            assert value in top.values()


def test_embeddings_arrive_as_numbers(answers: dict[str, Any], model: gpt2xl.Model) -> None:
    """The client asks for base64 and decodes it."""
    vectors = np.array(answers["vectors"])
    assert vectors.shape == (2, model.config.n_embd)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_errors_are_the_clients_own_classes(answers: dict[str, Any]) -> None:
    assert answers["errors"] == [
        ["BadRequestError", 400, "temperature"],
        ["NotFoundError", 404, "model"],
        ["BadRequestError", 400, "prompt"],
    ]
