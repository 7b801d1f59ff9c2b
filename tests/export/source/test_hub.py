"""Which files of the hub are planned, against a real HTTP server."""

import pytest
from tests.export.source.hub_client import Client
from tests.export.source.hub_repos import ADAPTER, CONFIG, SHARDS, TOKENIZER
from tests.export.source.hub_server import HubServer, commit_of

from gpt2xl import CheckpointError
from gpt2xl_export.source import hub

pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")


@pytest.mark.parametrize(
    "source", ["gpt2", "gpt2-xl", "distilgpt2", "openai-community/gpt2", "a/b", "o_1/x-1.5.b"]
)
def test_hub_names(source: str) -> None:
    assert hub.is_hub_name(source)


WRONG_NAMES = """gpt3|a/b/c|./a/b|/a/b|a/|/b|../a|~/a|a/b |a/b\n|a b/c|a\\b|-a/b|a/b-|a--b/c|a/b..c|\
a/b.git|é/b|hf://a/b"""


@pytest.mark.parametrize("source", ["", "a/" + "b" * 97, *WRONG_NAMES.split("|")])
def test_not_hub_names(source: str) -> None:
    assert not hub.is_hub_name(source)
    with pytest.raises(CheckpointError, match="owner/name"):
        hub.plan(source)


def test_aliases_are_hub_names() -> None:
    assert set(hub.ALIASES) == {"gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl", "distilgpt2"}
    assert all(hub.is_hub_name(name) and "/" in name for name in hub.ALIASES.values())


def test_shards(server: HubServer, client: Client) -> None:
    answer = client.download("o/sharded")
    assert answer["files"] == server.fetched() == sorted(CONFIG) + list(SHARDS)


def test_pickled_weights_are_used_only_if_there_are_no_others(client: Client) -> None:
    assert client.plan("o/pickled")["files"] == [*sorted(CONFIG), "pytorch_model.bin"]


def test_all_tokenizer_files_are_fetched(client: Client) -> None:
    files = client.plan("o/talkative")["files"]
    assert files == [*sorted([*CONFIG, *TOKENIZER, "NOTICE"]), "model.safetensors"]


def test_an_adapter_is_its_config_and_its_weights(server: HubServer, client: Client) -> None:
    answer = client.run("o/adapter", None, True, False, True)
    assert answer["files"] == server.fetched() == list(ADAPTER)
    server.requests.clear()
    offline = client.run("o/adapter", None, True, False, True, HF_HUB_OFFLINE="1")
    assert offline == answer | {"missing": 0}
    assert server.requests == []
    pickled = client.run("o/pickled-adapter", None, False, False, True)
    assert pickled["files"] == ["adapter_config.json", "adapter_model.bin"]


def test_an_adapter_instead_of_a_model_is_refused(client: Client) -> None:
    for source in ("o/adapter", "o/pickled-adapter"):
        assert client.error(source) == (
            f"'{source}' is an adapter, not a model: export its base model with `--adapter {source}`."
        )


def test_a_model_instead_of_an_adapter_is_refused(client: Client) -> None:
    error = client.run("gpt2", None, True, False, True)["error"]
    assert "has no adapter_config.json and no adapter_model.safetensors; found: " in error


@pytest.mark.parametrize(
    ("source", "lacks", "found"),
    [
        ("o/weightless", "model.safetensors or pytorch_model.bin", "tf_model.h5"),
        ("o/shardless", "model.safetensors or pytorch_model.bin", "model-00001-of-00002"),
        ("o/configless", "no config.json", "found: model.safetensors."),
    ],
)
def test_a_repository_that_cannot_be_converted_is_refused(
    client: Client, source: str, lacks: str, found: str
) -> None:
    error = client.error(source)
    assert lacks in error
    assert found in error


def test_revisions(client: Client) -> None:
    assert client.error("gpt2", "v9") == (
        "'openai-community/gpt2' has no branch, tag or commit 'v9'."
    )
    commit = commit_of("openai-community/gpt2")
    assert client.plan("gpt2", "v1")["revision"] == commit
    assert client.plan("gpt2", commit)["revision"] == commit
