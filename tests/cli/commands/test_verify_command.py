"""gpt2xl verify: its lines, its JSON, its exit code."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[..., CompletedProcess[str]]
WEIGHTS = "onnx/model.onnx_data"


@pytest.fixture
def damaged(bundle: Path, tmp_path: Path) -> Path:
    """A bundle with a truncated weights file."""
    copy = Path(shutil.copytree(bundle, tmp_path / "damaged"))
    os.truncate(copy / WEIGHTS, 100)
    return copy


def test_each_check_prints_a_line(run: Run, bundle: Path, checkpoint: Path) -> None:
    done = run("verify", bundle, "--source", checkpoint)
    assert (done.returncode, done.stderr) == (0, "")
    *lines, verdict = done.stdout.splitlines()
    assert verdict == "All 6 checks passed, 1 skipped: the bundle is sound."
    assert [line.partition(":")[0].split(maxsplit=1) for line in lines] == [
        ["ok", "sums"],
        ["ok", "tokenization"],
        ["ok", "graphs"],
        ["ok", "parity"],
        ["ok", "source sums"],
        ["ok", "source parity"],
        ["skipped", "published"],
    ]


def test_a_failed_check_is_also_the_error_line(run: Run, damaged: Path) -> None:
    done = run("verify", damaged)
    said = f"sums: '{WEIGHTS}' has 100 bytes, the manifest says "
    assert done.returncode == 1
    assert done.stdout.startswith(f"failed   {said}")
    assert "skipped  graphs: sums failed\n" in done.stdout
    assert done.stdout.splitlines()[-1] == (
        "0 checks passed, sums failed, 6 skipped: a file is not as it was exported;"
        " copy the bundle again, or export it again."
    )
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1


def test_checks_before_a_failure_stay_on_stdout(run: Run, bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(bundle, tmp_path / "copy"))
    manifest = json.loads((copy / "gpt2xl.json").read_text("utf-8"))
    manifest["source"]["name"] = "openai-community/gpt2-xl"
    (copy / "gpt2xl.json").write_text(json.dumps(manifest), "utf-8")
    done = run("verify", copy)
    *lines, verdict = done.stdout.splitlines()
    assert verdict.startswith("4 checks passed, published failed, 2 skipped: ")
    assert [line.split()[0] for line in lines] == [
        *("ok", "ok", "ok", "ok"), *("skipped", "skipped"), "failed"
    ]  # fmt: skip
    assert done.stderr == (
        "error: published: 'gpt2xl.json' names 'openai-community/gpt2-xl',"
        " but vocab_size is 289, gpt2-xl's is 50257.\n"
    )


def test_json_of_a_bundle_that_passes(run: Run, bundle: Path) -> None:
    done = run("verify", bundle, "--json")
    content = json.loads(done.stdout)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1)
    assert (content["bundle"], content["ok"]) == (str(bundle), True)
    assert [check["name"] for check in content["checks"]][:3] == ["sums", "tokenization", "graphs"]
    assert set(content["checks"][0]) == {"name", "status", "detail"}


def test_json_of_a_bundle_that_fails(run: Run, damaged: Path) -> None:
    done = run("verify", damaged, "--json")
    content = json.loads(done.stdout)
    assert (done.returncode, content["ok"]) == (1, False)
    assert [check["status"] for check in content["checks"]][:2] == ["failed", "skipped"]
    assert done.stderr.startswith("error: sums: ")


def test_a_missing_folder_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    missing = tmp_path / "nope"
    assert refused("verify", missing) == (
        f"error: '{missing}' is not a folder, nor the name of a model.\n"
    )


def test_an_adapter_needs_the_source_it_was_merged_into(run: Run, bundle: Path) -> None:
    done = run("verify", bundle, "--adapter", bundle)
    assert (done.returncode, done.stdout) == (2, "")
    assert "an adapter needs --source" in done.stderr


def test_importing_the_command_imports_nothing_heavy() -> None:
    code = "import sys, gpt2xl_cli.commands.verify; print(*{'onnx', 'onnxruntime', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
