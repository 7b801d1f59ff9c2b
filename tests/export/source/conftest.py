"""Folders of adapters; a hub and its clients."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.numpy import save_file
from tests.export.source.adapters import (
    CONFIG,
    MakeAdapter,
    Tensors,
)
from tests.export.source.hub_client import Client, Forker
from tests.export.source.hub_repos import REPOS
from tests.export.source.hub_server import HubServer


@pytest.fixture
def make_adapter(tmp_path: Path) -> MakeAdapter:
    """Call it with tensors and config overrides for the folder of an adapter."""

    def make(tensors: Tensors, **config: object) -> Path:
        folder = tmp_path / "adapter"
        folder.mkdir()
        (folder / "adapter_config.json").write_text(json.dumps(CONFIG | config))
        save_file(tensors, folder / "adapter_model.safetensors")
        return folder

    return make


@pytest.fixture(scope="session")
def forker() -> Iterator[Forker]:
    with Forker() as running:
        yield running


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer(dict(REPOS)) as running:
        yield running


@pytest.fixture
def client(server: HubServer, tmp_path: Path, forker: Forker) -> Client:
    return Client(tmp_path, server.url, forker)
