"""Downloads from a real HTTP server: what is fetched, and what goes wrong on the way."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.export.source.hub_client import Client, Forker
from tests.export.source.hub_repos import BIG, REPOS
from tests.export.source.hub_server import Drop, HubServer, commit_of

pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")


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


def test_huggingface_hub_shows_no_bars_of_its_own(client: Client) -> None:
    # tqdm reads its variable when it is imported.
    with client.start("gpt2", None, True, False, TQDM_POSITION="-1") as process:  # as on a terminal
        stderr = process.communicate(timeout=120)[1]
    assert (process.returncode, stderr) == (0, "")


def test_progress_counts_the_bytes_that_arrive_and_those_that_are_hashed(
    server: HubServer, client: Client
) -> None:
    server.pause = 0.1
    answer = client.run("o/big", None, True, True)
    seen, size = answer["progress"], answer["total"]
    arrived = [done for stage, done, total in seen if (stage, total) == ("download", size)]
    hashed = [(done, total) for stage, done, total in seen if stage == "arrived"]
    assert len(arrived) + len(hashed) == len(seen)
    assert arrived == sorted(arrived)
    assert (arrived[0], arrived[-1]) == (0, size)
    assert len({done for done in arrived if 0 < done < size}) >= 2
    assert hashed[-1] == (len(BIG), len(BIG))
    again = client.run("o/big", None, True, True)["progress"]
    assert {stage for stage, _, _ in again} == {"arrived"}


@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_drops_twice(server: HubServer, client: Client, reset: bool) -> None:
    server.drops["model.safetensors"] = [Drop(15 << 20, reset), Drop(11 << 20, reset)]
    answer = client.download("o/big")
    assert (Path(answer["folder"]) / "model.safetensors").read_bytes() == BIG
    ranges = [r.range for r in server.requests if r.method == "GET" and r.path.endswith("tensors")]
    assert len(ranges) == 3
    if not reset:  # huggingface_hub 2 starts anew after a TCP reset
        assert ranges == [None, f"bytes={10 << 20}-", f"bytes={20 << 20}-"]


@pytest.mark.slow
def test_a_connection_that_keeps_dropping(server: HubServer, client: Client) -> None:
    server.drops["vocab.json"] = [Drop(0)] * 100
    error = client.error("o/big")
    assert f"Cannot get 'vocab.json' of 'o/big' from {server.url}" in error
    assert 3 <= server.fetched().count("vocab.json") < 30
    server.drops.clear()
    assert client.download("o/big")["missing"] > len(BIG)


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


def test_offline_with_the_model_in_the_cache(server: HubServer, client: Client) -> None:
    online = client.download("gpt2", "v1")
    client.download("gpt2")
    server.requests.clear()
    for revision in (None, "v1", online["revision"]):
        offline = client.download("gpt2", revision, HF_HUB_OFFLINE="1")
        assert offline == online | {"missing": 0}
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


def test_an_interrupted_download_continues(server: HubServer, client: Client) -> None:
    server.stall.add("model.safetensors")
    with client.start("o/big", None, True, False) as process:
        while not any(path.stat().st_size >= 10 << 20 for path in client.blobs()):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    # huggingface_hub 2 keeps nothing of a file that is not complete.
    kept = sum(path.stat().st_size for path in client.blobs() if path.suffix == ".incomplete")
    assert kept in (0, 10 << 20)
    assert client.plan("o/big")["missing"] == len(BIG) - kept
    server.stall.clear()
    server.requests.clear()
    folder = Path(client.download("o/big")["folder"])
    assert (folder / "model.safetensors").read_bytes() == BIG
    ranges = [r.range for r in server.requests if r.method == "GET" and r.path.endswith("tensors")]
    assert ranges == [f"bytes={kept}-" if kept else None]


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


def test_a_disk_that_fills_up(server: HubServer, small_disk: Path, forker: Forker) -> None:
    client = Client(small_disk, server.url, forker)
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
