"""gpt2xl export --calibration, and the warning of an export that loses too much."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from tests.export.outliers import with_large_logits

Run = Callable[..., CompletedProcess[str]]
Refused = Callable[..., str]
LOSSY = ("-p", "int8", "--keep", "int4:h.1.mlp.c_proj.weight", "--block-size", "256", "--rounding", "nearest")  # fmt: skip


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """A calibration text, longer than what counts."""
    path = tmp_path / "mine.txt"
    path.write_text("0 1 2 3 4 5 6 7 8 9 " * 300)
    return path


@pytest.fixture
def lossy(make_checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """A checkpoint that LOSSY costs more than int8 should."""
    return with_large_logits(make_checkpoint({"n_embd": 64, "n_head": 4}), tmp_path / "lossy")


def test_a_text_is_used_and_shown(run: Run, checkpoint: Path, text: Path) -> None:
    done = run("export", checkpoint, "out", "-p", "int8", "--calibration", text)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 2
    lines = run("info", "out").stdout.splitlines()
    (shown,) = [line for line in lines if line.startswith("Calibration")]
    assert shown.endswith(" tokens of mine.txt and gpt2xl's page")


def test_json_is_the_manifest_with_the_text(run: Run, checkpoint: Path, text: Path) -> None:
    done = run("export", checkpoint, "out", "-p", "int4", "--calibration", text, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    manifest = json.loads(done.stdout)
    assert manifest["calibration"]["text"] == "mine.txt and gpt2xl's page"
    assert manifest["calibration"]["tokens"] > 4096
    assert manifest == json.loads(Path("out/gpt2xl.json").read_text())


def test_a_text_that_cannot_be_used_is_one_error_line(
    refused: Refused, checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "latin.txt").write_bytes("déjà vu".encode("latin-1"))
    (tmp_path / "empty.txt").touch()
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        "missing.txt": "does not exist",
        "latin.txt": "is not UTF-8",
        "empty.txt": "no tokens",
        "folder": "not a regular file",
        "pipe": "not a regular file",
    }
    for name, reason in reasons.items():
        for more in ((), ("--json",)):
            line = refused("export", checkpoint, "out", "-p", "int8", "--calibration", name, *more)
            assert name in line
            assert reason in line


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_precision_that_is_not_calibrated_takes_no_text(
    precision: str, refused: Refused, checkpoint: Path, text: Path
) -> None:
    line = refused("export", checkpoint, "out", "-p", precision, "--calibration", text)
    assert line == (
        f"error: {precision} is not calibrated: leave out the calibration text '{text}'.\n"
    )


@pytest.mark.filterwarnings("always::gpt2xl.errors.Gpt2xlWarning")
def test_an_export_that_loses_too_much_ends_in_a_warning(run: Run, lossy: Path) -> None:
    done = run("export", lossy, "out", *LOSSY)
    assert (done.returncode, done.stderr) == (0, "")
    summary, exactness, warning = done.stdout.splitlines()
    assert summary.startswith("Wrote out: int8, ")
    assert exactness.endswith((" greedy texts differ early.", " try a finer precision."))
    assert warning.startswith("warning: int8 loses more than usual on this model: KL ")
    assert "try `--keep 'int8-weight:h.1.mlp.c_proj.weight'` or `-p int8-weight`." in warning
    assert "out" in os.listdir()


@pytest.mark.filterwarnings("always::gpt2xl.errors.Gpt2xlWarning")
def test_with_json_the_warning_is_on_stderr(run: Run, lossy: Path) -> None:
    done = run("export", lossy, "out", *LOSSY, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["precision"] == "int8"
    assert done.stderr.startswith("warning: int8 loses more than usual on this model: KL ")
    assert done.stderr.count("\n") == 1
