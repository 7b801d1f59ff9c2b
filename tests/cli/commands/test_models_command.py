"""gpt2xl models: what it lists, finds and removes, after downloads from a hub of the tests."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from tests.export.source.hub_client import clean_environment
from tests.export.source.hub_server import HubServer

Run = Callable[..., CompletedProcess[str]]
Refused = Callable[..., str]
COMMAND = [sys.executable, "-m", "gpt2xl_cli"]


@pytest.fixture
def export(run: Run, checkpoint: Path, tmp_path: Path) -> Path:
    """A bundle that `gpt2xl export` has made."""
    assert run("export", checkpoint, "my-bundle").returncode == 0
    return tmp_path / "my-bundle"


@pytest.fixture(autouse=True)
def no_hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's is not read. huggingface_hub, if it is imported already, has read the variable."""
    pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(tmp_path / "hub"))


def listed(run: Run) -> list[str]:
    return [model["name"] for model in json.loads(run("models", "--json").stdout)["models"]]


def test_an_empty_machine_gets_a_hint(run: Run) -> None:
    done = run("models")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no models on this machine yet" in done.stdout
    assert "gpt2xl generate -m gpt2-xl" in done.stdout


def test_an_export_is_listed_with_its_size(run: Run, export: Path) -> None:
    done = run("models")
    assert (done.returncode, done.stderr) == (0, "")
    header, row, total, free = done.stdout.splitlines()
    assert header.split() == ["size", "precision", "last", "read", "kind", "name"]
    size = sum(path.stat().st_size for path in export.rglob("*") if path.is_file())
    assert row.split() == [f"{size / 1e3:.1f}", "kB", "fp32", "today", "bundle", str(export)]
    assert total == f"{size / 1e3:.1f} kB  in all"
    assert re.fullmatch(r"\d+\.\d [kMG]B are free; `gpt2xl models rm NAME` removes a model\.", free)
    content = json.loads(run("models", "--json").stdout)
    assert content["size"] == size
    assert content["models"][0]["folder"] == str(export)


def test_where_prints_one_folder(run: Run, export: Path, refused: Refused) -> None:
    assert run("models", "where").stdout == f"{Path('cache/gpt2xl').absolute()}\n"
    assert run("models", "where", "my-bundle").stdout == f"{export}\n"
    assert "did you mean" in refused("models", "where", "my-bundel")
    assert "`gpt2xl generate -m demo` makes it" in refused("models", "where", "demo")


def test_rm_removes_what_is_named_with_yes_only(
    run: Run, export: Path, error_line: Callable[..., str]
) -> None:
    done = run("models", "rm", "my-bundle")
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no terminal to ask on: add --yes" in done.stderr
    assert export.exists()
    assert run("models", "rm").returncode == 2
    assert "did you mean 'my-bundle'" in error_line(run("models", "rm", "my-bundel", "-y"))
    size = sum(path.stat().st_size for path in export.rglob("*") if path.is_file())
    done = run("models", "rm", export, "--yes")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"Freed {size / 1e3:.1f} kB.\n", "")
    assert not export.exists()
    assert listed(run) == []


def test_one_wrong_name_removes_nothing(
    run: Run, export: Path, error_line: Callable[..., str]
) -> None:
    assert "'zebra' is not on this machine: there is nothing to remove." in error_line(
        run("models", "rm", export, "zebra", "--yes")
    )
    assert export.exists()


@pytest.mark.parametrize("name", ["gpt2", "demo", "owner/tale"])
def test_a_model_that_is_absent_is_not_to_be_made_to_be_removed(
    name: str, run: Run, error_line: Callable[..., str]
) -> None:
    wanted = f"error: '{name}' is not on this machine: there is nothing to remove.\n"
    assert error_line(run("models", "rm", name, "--yes")) == wanted


@pytest.mark.parametrize("answer", ["n", "y"])
def test_on_a_terminal_it_shows_the_models_and_asks(answer: str, export: Path) -> None:
    master, slave = pty.openpty()
    environment = os.environ | {"HF_HOME": str(export.parent / "hf")}
    command = [*COMMAND, "models", "rm", str(export)]
    with subprocess.Popen(
        command, stdin=slave, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        os.write(master, f"{answer}\n".encode())
        stdout, _ = process.communicate(timeout=60)
    os.close(master)
    os.close(slave)
    assert str(export).encode() in stdout
    assert b"Remove? [y/N]" in stdout
    assert export.exists() == (answer == "n")
    assert process.returncode == (1 if answer == "n" else 0)


def test_leftovers_are_removed_and_those_in_use_are_left_alone(run: Run, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "gpt2xl"
    for name in ("used", "left"):
        (cache / f".{name}.partial-0123abcd").mkdir(parents=True)
    (cache / ".used.partial-0123abcd" / "half").touch()
    assert "unfinished" in run("models").stdout
    holder = "import sys; from pathlib import Path; from gpt2xl.files.atomic import locked\n"
    holder += "with locked(Path(sys.argv[1]), wait=True):\n"
    holder += "    Path(sys.argv[2]).mkdir(); print('ready', flush=True); sys.stdin.read()"
    target, partial = cache / "used", cache / ".used.partial-0123abcf"
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", holder, str(target), str(partial)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        done = run("models", "rm", "--leftovers", "--yes")
        assert done.returncode == 0
        assert "Left alone: another gpt2xl is writing" in done.stderr
        assert partial.exists()
        assert not (cache / ".left.partial-0123abcd").exists()
        process.communicate()
    assert run("models", "rm", "--leftovers", "--yes").returncode == 0
    assert os.listdir(cache) == []
    assert run("models", "rm", "--leftovers").stdout == "There are no leftovers.\n"


MISTYPED = {
    "dmo": "'dmo' is not a folder, nor the name of a model; did you mean 'demo'?",
    "gpt-2-xl": "'gpt-2-xl' is not a folder, nor the name of a model; did you mean 'gpt2-xl'?",
    "GPT2": "did you mean 'gpt2'?",
    "my-bundel": "did you mean 'my-bundle'?",
    "./my-bundel": "did you mean 'my-bundle'?",
}


@pytest.mark.parametrize("name", MISTYPED)
def test_a_mistyped_model_is_answered_with_the_one_that_is_meant(
    name: str, export: Path, refused: Refused
) -> None:
    assert MISTYPED[name] in refused("generate", "-m", name, "Once")


def test_a_bundle_is_no_source_of_an_export(export: Path, refused: Refused) -> None:
    assert "'my-bundle' is a bundle already, not a checkpoint: run `gpt2xl generate -m" in refused(
        "export", "my-bundle", "out"
    )
    assert "did you mean 'gpt2-xl'?" in refused("export", "gpt2xl", "out")


class TestDownloads:
    @pytest.fixture
    def server(self, checkpoint: Path) -> Iterator[HubServer]:
        """A hub with one small model."""
        files = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
        with HubServer({"owner/tale": files}) as running:
            yield running

    @pytest.fixture
    def gpt2xl(self, server: HubServer, tmp_path: Path) -> Callable[..., CompletedProcess[str]]:
        """Run `gpt2xl` in a process of its own, with that hub."""

        def gpt2xl(*arguments: object) -> CompletedProcess[str]:
            command = [*COMMAND, *map(str, arguments)]
            environment = self.environment(server, tmp_path)
            return subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False, timeout=120
            )

        return gpt2xl

    def environment(self, server: HubServer, home: Path) -> dict[str, str]:
        hub = {"HF_HOME": str(home / "hf"), "HF_ENDPOINT": server.url, "COLUMNS": "200"}
        return clean_environment() | hub | {"GPT2XL_CACHE": str(home / "bundles")}

    def test_a_download_is_announced_and_what_it_made_is_listed_and_removed(
        self, gpt2xl: Run, server: HubServer, tmp_path: Path
    ) -> None:
        done = gpt2xl("generate", "-m", "owner/tale", "Once", "--greedy")
        assert (done.returncode, done.stdout[:4]) == (0, "Once")
        assert re.fullmatch(
            r"Downloading owner/tale: \d+\.\d kB, less than 1 min at 100 Mbit/s\. Disk space needed:"
            r" \d+\.\d kB, with the int8 bundle, about \d+\.\d kB; \d+\.\d GB are free\.\n",
            done.stderr,
        )
        content = json.loads(gpt2xl("models", "--json").stdout)
        found = {(model["name"], model["kind"]) for model in content["models"]}
        assert found == {("owner/tale", "bundle"), ("owner/tale", "checkpoint")}
        again = gpt2xl("export", "owner/tale", "out")
        assert again.stderr.startswith("owner/tale is in the hub's cache, ")
        assert "To make: fp32 bundle, about " in again.stderr
        folder = gpt2xl("models", "where", "owner/tale", "--only", "checkpoint").stdout.strip()
        assert Path(folder).is_relative_to(tmp_path / "hf")
        done = gpt2xl("models", "rm", "owner/tale", "out", "--yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert json.loads(gpt2xl("models", "--json").stdout)["size"] == 0

    def test_a_disk_that_cannot_hold_it_is_said_before_the_download(
        self, gpt2xl: Run, server: HubServer, error_line: Callable[..., str]
    ) -> None:
        server.declared_size["model.safetensors"] = 10**16
        for arguments in (
            ["generate", "Once", "-m", "owner/tale"],
            ["export", "owner/tale", "out"],
        ):
            message = error_line(gpt2xl(*arguments))
            assert "'owner/tale' needs " in message
            assert "are free: make room (`gpt2xl models` lists what is there)" in message
        assert server.fetched() == []

    def test_after_ctrl_c_the_same_command_continues(
        self, gpt2xl: Run, server: HubServer, checkpoint: Path, tmp_path: Path
    ) -> None:
        content = server.repos["owner/tale"]["model.safetensors"]
        server.stall.add("model.safetensors")
        command = [*COMMAND, "export", "owner/tale", "out"]
        environment = self.environment(server, tmp_path)
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
            while "model.safetensors" not in server.fetched():
                assert process.poll() is None
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=30)
        assert process.returncode == 130
        assert stderr.splitlines()[-1] == (
            b"error: interrupted: complete files are kept, the same command continues."
        )
        server.stall.clear()
        server.requests.clear()
        assert gpt2xl("export", "owner/tale", "out").returncode == 0
        assert server.fetched() == ["model.safetensors"]
        (blob,) = {p.resolve() for p in (tmp_path / "hf").rglob("model.safetensors")}
        assert blob.read_bytes() == content

    def test_a_mistyped_folder_that_could_be_a_name_is_recognized(
        self, gpt2xl: Run, bundle: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(bundle, tmp_path / "out" / "tale")
        done = gpt2xl("generate", "-m", "out/tael", "Once")
        assert done.returncode == 1
        assert done.stderr.endswith("Or did you mean the folder 'out/tale'?\n")
