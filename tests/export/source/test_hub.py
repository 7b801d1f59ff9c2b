"""hub.py against a real HTTP server; every run is a process of its own.

huggingface_hub reads HF_ENDPOINT, HF_HOME and the like when it is imported.
"""

import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpt2xl import CheckpointError
from gpt2xl_export.source import hub

pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")

if TYPE_CHECKING:
    from tests.export.source.hub_server import Drop, HubServer, commit_of
else:
    path = Path(__file__).with_name("hub_server.py")
    spec = importlib.util.spec_from_file_location("hub_server", path)
    hub_server = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hub_server)
    Drop, HubServer, commit_of = hub_server.Drop, hub_server.HubServer, hub_server.commit_of

CONFIG = {
    "config.json": b'{"model_type": "gpt2"}',
    "merges.txt": b"#version\n",
    "vocab.json": b"{}",
}
OTHERS = {
    "tf_model.h5": b"tf",
    "rust_model.ot": b"rust",
    "flax_model.msgpack": b"flax",
    "onnx/decoder_model.onnx": b"onnx",
    "onnx/config.json": b"{}",
    ".gitattributes": b"",
    "64.tflite": b"tflite",
}
ADAPTER = {"adapter_config.json": b"{}", "adapter_model.safetensors": b"small"}
TOKENIZER = {
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b"{}",
    "special_tokens_map.json": b"{}",
    "added_tokens.json": b"{}",
    "chat_template.jinja": b"{{ messages }}",
}
BIG = random.Random(0).randbytes(24 << 20)  # huggingface_hub writes pieces of 10 MiB
SHARDS = {
    "model.safetensors.index.json": b'{"weight_map": {}}',
    "model-00001-of-00002.safetensors": b"first",
    "model-00002-of-00002.safetensors": b"second",
}
REPOS = {
    "openai-community/gpt2": CONFIG
    | OTHERS
    | {"model.safetensors": b"weights", "pytorch_model.bin": b"pickle", "LICENSE.md": b"MIT"},
    "o/big": CONFIG | {"model.safetensors": BIG},
    "o/sharded": CONFIG | SHARDS | {"pytorch_model.bin": b"pickle"},
    "o/pickled": CONFIG | {"pytorch_model.bin": b"pickle", "model.safetensors.index.json": b"{}"},
    "o/weightless": CONFIG | OTHERS,
    "o/shardless": CONFIG | {name: SHARDS[name] for name in list(SHARDS)[:2]},
    "o/configless": {"model.safetensors": b"weights"},
    "o/adapter": ADAPTER | OTHERS | {"tokenizer.json": b"{}", "training_args.bin": b"pickle"},
    "o/pickled-adapter": {"adapter_config.json": b"{}", "adapter_model.bin": b"pickle"},
    "o/talkative": CONFIG | TOKENIZER | {"model.safetensors": b"weights", "NOTICE": b"of whom"},
}

RUN = """
import json, sys
from gpt2xl.errors import CheckpointError
from gpt2xl_export.source import hub, hub_download

source, revision, fetch, show, *adapter = json.loads(sys.argv[1])
try:
    plan = hub.plan(source, revision, adapter=bool(adapter))
    answer = {"repo": plan.repo_id, "revision": plan.revision, "total": plan.total_size}
    answer["files"] = [file.name for file in plan.files]
    answer["missing"] = plan.download_size
    if fetch:
        answer["folder"] = str(hub_download.download(plan, show_progress=show))
        answer["still missing"] = plan.download_size
except CheckpointError as error:
    assert error.__suppress_context__ or error.__context__ is None
    answer = {"error": str(error)}
print(json.dumps(answer))
"""


@pytest.fixture
def server() -> Iterator[HubServer]:
    with HubServer(dict(REPOS)) as running:
        yield running


class Client:
    """Runs hub.py in new processes that share one cache."""

    def __init__(self, home: Path, endpoint: str) -> None:
        dropped = ("HF_", "HUGGING", "HTTP", "ALL_PROXY", "NO_PROXY", "TRANSFORMERS_")
        env = {k: v for k, v in os.environ.items() if not k.upper().startswith(dropped)}
        self.env = env | {"PYTHONPATH": os.pathsep.join(sys.path), "NO_PROXY": "*"}
        self.env |= {"HF_HOME": str(home), "HF_ENDPOINT": endpoint, "PYTHONWARNINGS": "error"}
        self.cache = home / "hub"
        self.stderr = ""

    def start(self, source: str, *args: object, **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", RUN, json.dumps([source, *args])],
            env=self.env | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, source: str, *args: object, **env: str) -> dict[str, Any]:
        with self.start(source, *args, **env) as process:
            stdout, self.stderr = process.communicate(timeout=120)
        assert process.returncode == 0, self.stderr
        answer: dict[str, Any] = json.loads(stdout)
        return answer

    def plan(self, source: str, revision: str | None = None, **env: str) -> dict[str, Any]:
        return self.run(source, revision, False, False, **env)

    def download(self, source: str, revision: str | None = None, **env: str) -> dict[str, Any]:
        return self.run(source, revision, True, False, **env)

    def error(self, source: str, revision: str | None = None, **env: str) -> str:
        answer = self.run(source, revision, True, False, **env)
        assert set(answer) == {"error"}, answer
        text: str = answer["error"]
        assert "\n" not in text
        return text

    def blobs(self) -> list[Path]:
        return [path for path in self.cache.rglob("*") if path.is_file() and not path.is_symlink()]


@pytest.fixture
def client(server: HubServer, tmp_path: Path) -> Client:
    return Client(tmp_path, server.url)


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


def test_an_alias_fetches_only_the_needed_files(server: HubServer, client: Client) -> None:
    answer = client.download("gpt2")
    needed = ["LICENSE.md", "config.json", "merges.txt", "vocab.json", "model.safetensors"]
    repo = REPOS["openai-community/gpt2"]
    folder = Path(answer["folder"])
    assert answer["repo"] == "openai-community/gpt2"
    assert answer["revision"] == folder.name == commit_of("openai-community/gpt2")
    assert answer["files"] == server.fetched() == needed
    assert answer["total"] == answer["missing"] == sum(len(repo[name]) for name in needed)
    assert answer["still missing"] == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        n: repo[n] for n in needed
    }
    assert client.cache in folder.parents
    assert client.stderr == ""


def test_a_second_download_fetches_nothing(server: HubServer, client: Client) -> None:
    first = client.download("gpt2")
    server.requests.clear()
    second = client.download("gpt2")
    assert second == first | {"missing": 0}
    assert server.fetched() == []


@pytest.mark.parametrize("show", [True, False])
def test_progress_bars_are_on_stderr_if_wanted(client: Client, show: bool) -> None:
    client.run("gpt2", None, True, show, TQDM_POSITION="-1")  # as if on a terminal
    assert ("model.safetensors" in client.stderr) == show


def test_shards(server: HubServer, client: Client) -> None:
    answer = client.download("o/sharded")
    assert answer["files"] == server.fetched() == sorted(CONFIG) + list(SHARDS)


def test_pickled_weights_if_there_is_nothing_else(client: Client) -> None:
    assert client.plan("o/pickled")["files"] == [*sorted(CONFIG), "pytorch_model.bin"]


def test_everything_that_a_tokenizer_is_made_of_is_fetched(client: Client) -> None:
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


def test_an_adapter_asked_for_as_a_model_is_called_one(client: Client) -> None:
    for source in ("o/adapter", "o/pickled-adapter"):
        assert client.error(source) == (
            f"'{source}' is an adapter, not a model: export its base model with `--adapter {source}`."
        )


def test_a_model_asked_for_as_an_adapter_is_refused(client: Client) -> None:
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
def test_a_repo_we_cannot_convert(client: Client, source: str, lacks: str, found: str) -> None:
    error = client.error(source)
    assert lacks in error
    assert found in error


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_drops_twice(server: HubServer, client: Client, reset: bool) -> None:
    server.drops["model.safetensors"] = [Drop(15 << 20, reset), Drop(11 << 20, reset)]
    answer = client.download("o/big")
    assert (Path(answer["folder"]) / "model.safetensors").read_bytes() == BIG
    ranges = [r.range for r in server.requests if r.method == "GET" and r.path.endswith("tensors")]
    assert len(ranges) == 3
    if not reset:  # huggingface_hub 2 starts anew after a TCP reset
        assert ranges == [None, f"bytes={10 << 20}-", f"bytes={20 << 20}-"]


def test_a_connection_that_keeps_dropping(server: HubServer, client: Client) -> None:
    server.drops["vocab.json"] = [Drop(0)] * 100
    error = client.error("o/big")
    assert f"Cannot get 'vocab.json' of 'o/big' from {server.url}" in error
    assert 3 <= server.fetched().count("vocab.json") < 30
    server.drops.clear()
    assert client.download("o/big")["missing"] > len(BIG)


@pytest.mark.parametrize(("end", "status"), [("/revision/main", 503), ("/merges.txt", 410)])
def test_a_hub_that_fails(server: HubServer, client: Client, end: str, status: int) -> None:
    server.failing[end] = status
    assert f"from {server.url} (HTTP {status}): check the connection" in client.error("gpt2")


def test_a_damaged_file(server: HubServer, client: Client) -> None:
    server.corrupt.add("model.safetensors")
    error = client.error("gpt2")
    assert "'model.safetensors' of 'openai-community/gpt2' is damaged (SHA-256" in error
    assert not [path for path in client.cache.rglob("*") if path.name == "model.safetensors"]
    assert not [path for path in client.blobs() if path.read_bytes()[:6] == b"weight"]
    server.corrupt.clear()
    server.requests.clear()
    folder = Path(client.download("gpt2")["folder"])
    assert server.fetched() == ["model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_a_cached_file_that_was_cut_short(server: HubServer, client: Client) -> None:
    path = Path(client.download("gpt2")["folder"]) / "vocab.json"
    path.resolve().write_bytes(b"")
    assert "'vocab.json' of 'openai-community/gpt2' is damaged (0 bytes" in client.error("gpt2")
    assert not path.is_symlink()
    client.download("gpt2")
    assert path.read_bytes() == b"{}"


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


def test_revisions(client: Client) -> None:
    assert client.error("gpt2", "v9") == (
        "'openai-community/gpt2' has no branch, tag or commit 'v9'."
    )
    commit = commit_of("openai-community/gpt2")
    assert client.plan("gpt2", "v1")["revision"] == commit
    assert client.plan("gpt2", commit)["revision"] == commit


def test_an_unreachable_endpoint(server: HubServer, client: Client) -> None:
    server.__exit__(None, None, None)
    error = client.error("gpt2")
    assert f"Cannot get 'openai-community/gpt2' from {server.url}" in error
    assert "HF_HUB_OFFLINE" in error


def test_offline_with_the_model_in_the_cache(server: HubServer, client: Client) -> None:
    online = client.download("gpt2", "v1")
    client.download("gpt2")
    server.requests.clear()
    for revision in (None, "v1", online["revision"]):
        offline = client.download("gpt2", revision, HF_HUB_OFFLINE="1")
        assert offline == online | {"missing": 0}
    assert server.requests == []


def test_offline_without_the_model(server: HubServer, client: Client) -> None:
    error = client.error("gpt2", HF_HUB_OFFLINE="1")
    assert "'openai-community/gpt2' at 'main' is not in the cache" in error
    assert "HF_HUB_OFFLINE" in error
    assert server.requests == []


def test_offline_with_half_a_model(server: HubServer, client: Client) -> None:
    folder = Path(client.download("gpt2")["folder"])
    (folder / "model.safetensors").unlink()
    error = client.error("gpt2", HF_HUB_OFFLINE="1")
    assert "the cached 'openai-community/gpt2' (HF_HUB_OFFLINE is set) has no complete" in error


def test_ctrl_c_ends_a_download_at_once(server: HubServer, client: Client) -> None:
    server.stall.add("model.safetensors")
    with client.start("o/big", None, True, False) as process:
        while "model.safetensors" not in server.fetched():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        stderr = process.communicate(timeout=10)[1]
    assert process.returncode == -signal.SIGINT
    assert stderr.rstrip().endswith("KeyboardInterrupt")


def test_too_little_space(server: HubServer, client: Client) -> None:
    server.declared_size["model.safetensors"] = 10**16
    error = client.error("gpt2")
    assert f"needs 10000000.00 GB in {client.cache}" in error
    assert "HF_HOME" in error
    assert server.fetched() == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a small disk: {error}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_disk_that_fills_up(server: HubServer, small_disk: Path) -> None:
    client = Client(small_disk, server.url)
    filler = small_disk / "filler"
    server.on_get = lambda name: (
        name == "model.safetensors" and filler.write_bytes(b"x" * (30 << 20))
    )
    error = client.error("o/big")
    assert (
        f"The disk is full and 'model.safetensors' of 'o/big' incomplete in {client.cache}" in error
    )
    assert "HF_HOME" in error
    filler.unlink()
    server.on_get = lambda name: None
    folder = Path(client.download("o/big")["folder"])
    assert (folder / "model.safetensors").read_bytes() == BIG


def test_a_cache_that_cannot_be_written(client: Client) -> None:
    client.cache.write_text("a file where the folder should be")
    error = client.error("o/big")
    assert f"Cannot write 'config.json' of 'o/big' to {client.cache} (Not a directory)" in error


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
def test_an_answer_of_foreign_types_is_one_line(
    server: HubServer, client: Client, told: dict[str, object]
) -> None:
    server.told = told
    message = client.error("gpt2")
    assert "\n" not in message


@pytest.mark.parametrize("source", ["gpt2", "o/weightless", "o/none"])
def test_a_password_of_the_endpoint_is_not_repeated(
    server: HubServer, client: Client, source: str
) -> None:
    endpoint = server.url.replace("http://", "http://me:pa/ss@word@")
    message = client.error(source, HF_ENDPOINT=endpoint, HF_TOKEN="hf_secret")
    for secret in ("me:", "pa/ss", "word@", "hf_secret"):
        assert secret not in message + client.stderr
