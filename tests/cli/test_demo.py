"""Without -m: the built-in demo, exported into the user's cache at its first use."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

import gpt2xl_export.exporting
from gpt2xl import CheckpointError
from gpt2xl_export import named_models

Run = Callable[..., CompletedProcess[str]]
DEMO = Path(__file__).parents[2] / "models" / "demo"


EXPORTER = """
import sys
from pathlib import Path
from gpt2xl_cli.models import model_folder
from gpt2xl_export import named_models
from gpt2xl_export.source.sources import Source
def wait(folder, name):
    print("begun", flush=True)
    sys.stdin.readline()
    return Source(folder, "first", "first")
named_models.Source = wait
named_models.demo_checkpoint = lambda: Path(sys.argv[1])
model_folder(None)
"""


@pytest.fixture
def stand_in(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the demo by a tiny random model."""
    monkeypatch.setattr(named_models, "demo_checkpoint", lambda: checkpoint)
    return checkpoint


def test_the_first_use_exports_the_demo_and_later_ones_reuse_it(
    stand_in: Path, run: Run, tmp_path: Path
) -> None:
    first = run("generate", "Once", "--seed", 1)
    assert (first.returncode, first.stdout[:4]) == (0, "Once")
    (bundle,) = (tmp_path / "cache" / "gpt2xl").iterdir()
    assert first.stderr == f"First use: exporting {stand_in} as int8-weight to {bundle}\n"
    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    again = run("generate", "Once", "--seed", 1)
    assert (again.stdout, again.stderr) == (first.stdout, "")
    named = run("generate", "-m", "demo", "Once", "--seed", 1)
    assert (named.stdout, named.stderr) == (first.stdout, "")
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == before


def test_a_folder_of_the_name_demo_is_preferred(stand_in: Path, run: Run) -> None:
    Path("demo").mkdir()
    done = run("generate", "-m", "demo", "Once")
    assert (done.returncode, done.stderr) == (1, "error: 'demo' holds no ONNX file.\n")


@pytest.mark.parametrize("command", [["tokenize", "Once"], ["detokenize", "65"]])
def test_other_commands_use_the_demo_too(command: list[str], stand_in: Path, run: Run) -> None:
    done = run(*command)
    assert done.returncode == 0
    assert "exporting" in done.stderr


def test_the_demo_is_not_exported_if_a_model_is_given(
    stand_in: Path, run: Run, bundle: Path, tmp_path: Path
) -> None:
    assert run("generate", "Once", "-m", bundle).stderr == ""
    assert not (tmp_path / "cache" / "gpt2xl").exists()


def test_json_is_the_only_line_on_stdout(stand_in: Path, run: Run) -> None:
    done = run("generate", "Once", "--json")
    assert json.loads(done.stdout)["prompt"] == "Once"
    assert done.stdout.count("\n") == 1


def test_a_changed_demo_is_exported_again(
    stand_in: Path,
    run: Run,
    make_checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run("generate", "Once")
    monkeypatch.setattr(named_models, "demo_checkpoint", lambda: make_checkpoint(seed=1))
    assert "First use" in run("generate", "Once").stderr
    assert len(os.listdir(tmp_path / "cache" / "gpt2xl")) == 2


def test_an_export_by_another_process_is_not_an_error(
    stand_in: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overtaken(*arguments: Any, **more: Any) -> object:
        real(*arguments, **more)
        return real(*arguments, **more)

    real = gpt2xl_export.exporting.export
    monkeypatch.setattr("gpt2xl_export.exporting.export", overtaken)
    assert run("generate", "Once").returncode == 0


def test_the_second_of_two_first_uses_waits_for_the_first(
    stand_in: Path, run: Run, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", EXPORTER, str(stand_in)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"begun\n"
        timer = threading.Timer(1, first.communicate, [b"go on\n"])
        timer.start()
        done = run("generate", "Once", "--seed", 1)
        timer.join()
    assert (done.returncode, first.returncode) == (0, 0)
    (bundle,) = (tmp_path / "cache" / "gpt2xl").iterdir()
    assert done.stderr.splitlines()[1:] == [f"Waiting for another gpt2xl, which is making {bundle}"]
    assert json.loads((bundle / "gpt2xl.json").read_text())["source"]["revision"] == "first"


def test_leftovers_of_a_killed_first_use_are_removed(
    stand_in: Path, run: Run, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", EXPORTER, str(stand_in)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        first.stdout.readline()
        first.kill()
    cache = tmp_path / "cache" / "gpt2xl"
    assert [name[-5:] for name in os.listdir(cache)] == [".lock"]
    assert run("generate", "Once").returncode == 0
    assert [name[:4] for name in os.listdir(cache)] == ["demo"]


def test_a_cache_that_cannot_be_written_is_named(
    stand_in: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file").write_text("precious")
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path("file").absolute()))
    done = run("generate", "Once")
    assert (done.returncode, done.stdout) == (1, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert "cannot be written" in last


def test_a_missing_demo_checkpoint_is_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_models, "demo_checkpoint", lambda: tmp_path)
    done = run("generate", "Once")
    assert done.returncode == 1
    assert f"{tmp_path}/model.safetensors" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", ["gpt2-xl", "no-one/no-model"])
def test_a_hub_name_is_looked_up_on_the_hub(
    name: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, *_: object, **__: object) -> None:
        raise CheckpointError(f"no '{source}' on this hub")

    monkeypatch.setattr("gpt2xl_export.source.sources.plan", refuse)
    done = run("generate", "-m", name, "Once")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [f"error: no '{name}' on this hub"]


def test_the_real_demo_generates_a_fairy_tale(run: Run) -> None:
    assert named_models.demo_checkpoint() == DEMO
    assert (DEMO / "model.safetensors").is_file()
    started = time.monotonic()
    done = run("generate", "Once upon a time", "-n", 40, "--seed", 1)
    assert done.returncode == 0
    assert done.stdout.startswith("Once upon a time")
    assert len(done.stdout.split()) > 15
    assert "\ufffd" not in done.stdout
    assert time.monotonic() - started < 60
