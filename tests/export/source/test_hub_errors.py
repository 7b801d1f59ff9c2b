"""Each failure of the hub is one line that says what to do."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.export.source.hub_client import RUN, Client
from tests.export.source.hub_server import HubServer

pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")


@pytest.mark.parametrize(("end", "status"), [("/revision/main", 503), ("/merges.txt", 410)])
def test_a_hub_that_fails(server: HubServer, client: Client, end: str, status: int) -> None:
    server.failing[end] = status
    assert f"from {server.url} (HTTP {status}): check the connection" in client.error("gpt2")


def test_a_private_repo(server: HubServer, client: Client) -> None:
    server.token = "hf_right"
    for env in [{}, {"HF_TOKEN": "hf_wrong"}]:
        error = client.error("gpt2", **env)
        assert "HTTP 401" in error
        assert "HF_TOKEN" in error
    assert client.download("gpt2", HF_TOKEN="hf_right")["still missing"] == 0
    assert server.requests[-1].token == "hf_right"


def test_a_gated_repo(server: HubServer, client: Client) -> None:
    server.gated.add("o/sharded")
    error = client.error("o/sharded", HF_TOKEN="hf_some")
    assert f"ask for access at {server.url}/o/sharded" in error
    assert "HF_TOKEN" in error


def test_no_such_repo(server: HubServer, client: Client) -> None:
    assert f"{server.url} shows no model 'o/nothing' (HTTP 404)" in client.error("o/nothing")


def test_an_unreachable_endpoint(server: HubServer, client: Client) -> None:
    server.__exit__(None, None, None)
    error = client.error("gpt2")
    assert f"Cannot get 'openai-community/gpt2' from {server.url}" in error
    assert "HF_HUB_OFFLINE" in error


def test_offline_without_the_model(server: HubServer, client: Client) -> None:
    error = client.error("gpt2", HF_HUB_OFFLINE="1")
    assert "'openai-community/gpt2' at 'main' is not in the cache" in error
    assert "HF_HUB_OFFLINE" in error
    assert server.requests == []


def test_without_huggingface_hub(client: Client, tmp_path: Path) -> None:
    code = "import sys; sys.modules['huggingface_hub'] = None\n" + RUN
    args = json.dumps(["gpt2", None, True, False])
    out = subprocess.check_output([sys.executable, "-c", code, args], env=client.env, text=True)
    assert json.loads(out) == {"error": "downloading needs `pip install 'gpt2xl[hub]'`."}


NEEDED = ("config.json", "model.safetensors")
LFS = {"size": 1, "sha256": "../x", "pointerSize": 1}


@pytest.mark.parametrize(
    "told",
    [
        {"siblings": 5},
        {"siblings": [{}]},
        {"siblings": [{"rfilename": ["config.json"]}, {"rfilename": 5}]},
        {"sha": ["0"]},
        {"sha": "../../x"},
        {"siblings": [{"rfilename": n, "size": "1"} for n in NEEDED]},
        {"siblings": [{"rfilename": n, "size": -1} for n in NEEDED]},
        {"siblings": [{"rfilename": n, "size": 1, "lfs": LFS} for n in NEEDED]},
    ],
    ids=str,
)
def test_an_answer_of_wrong_types_is_an_error_of_one_line(
    server: HubServer, client: Client, told: dict[str, object]
) -> None:
    server.told = told
    message = client.error("gpt2")
    assert "\n" not in message


@pytest.mark.parametrize("source", ["gpt2", "o/weightless", "o/none"])
def test_a_password_in_the_endpoint_is_not_shown(
    server: HubServer, client: Client, source: str
) -> None:
    endpoint = server.url.replace("http://", "http://me:pa/ss@word@")
    message = client.error(source, HF_ENDPOINT=endpoint, HF_TOKEN="hf_secret")
    for secret in ("me:", "pa/ss", "word@", "hf_secret"):
        assert secret not in message + client.stderr
