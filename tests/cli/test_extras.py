"""A missing extra is named in one line, and commands import no more than they need."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

ErrorLine = Callable[[CompletedProcess[str]], str]
MAIN = """
import sys
for name in sys.argv.pop(1).split(","):
    sys.modules[name] = None
from gpt2xl_cli.__main__ import main
main()
"""


def without(modules: str, *arguments: object) -> CompletedProcess[str]:
    """Run `gpt2xl` as if ``modules`` (separated by commas) were not installed."""
    command = [sys.executable, "-W", "error", "-c", MAIN, modules, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_the_command_line_names_its_extra(module: str, error_line: ErrorLine) -> None:
    assert "`pip install 'gpt2xl[cli]'`" in error_line(without(module, "--version"))


@pytest.mark.parametrize("module", ["onnx", "onnx_ir", "safetensors"])
def test_export_names_its_extra(module: str, checkpoint: Path, error_line: ErrorLine) -> None:
    message = error_line(without(module, "export", checkpoint, "out"))
    assert "`pip install 'gpt2xl[export]'`" in message
    assert f"({module} is not installed)" in message


def test_verify_names_its_extra(bundle: Path, error_line: ErrorLine) -> None:
    message = error_line(without("onnx_ir", "verify", bundle))
    assert "verify needs `pip install 'gpt2xl[export]'` (onnx_ir is not installed)" in message


def test_a_model_with_a_name_names_its_extra(error_line: ErrorLine) -> None:
    message = error_line(without("onnx", "generate", "Once", "-m", "gpt2-xl"))
    assert "exported at its first use, which needs `pip install 'gpt2xl[export,hub]'`" in message


def test_a_bundle_runs_without_the_exporter(bundle: Path) -> None:
    absent = "onnx,onnx_ir,safetensors,torch,transformers,huggingface_hub"
    done = without(absent, "generate", "Once", "-m", bundle, "--greedy")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Once")


def test_a_bundle_is_evaluated_without_the_exporter(bundle: Path) -> None:
    absent = "onnx,onnx_ir,safetensors,torch,transformers,huggingface_hub,matplotlib,lm_eval"
    Path("text.txt").write_text("Once upon a time")
    done = without(absent, "eval", "perplexity", "--data", "text.txt", "-m", bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert "perplexity per token" in done.stdout


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("gpt2xl generate --preset c", "creative\n"),
        ("gpt2xl generate --preset my", "mymine\n"),
        ("gpt2xl batch -m gpt2-", "gpt2-medium\ngpt2-large\ngpt2-xl\n"),
        ("gpt2xl generate --draft fold", "fold-bundle\nfold-deep\n"),
        ("gpt2xl generate --draft ./fold", "./fold-bundle\n./fold-deep\n./fold-empty\n"),
        ("gpt2xl generate --draft ~/.fold", "~/.fold-hidden\n"),
        ("gpt2xl generate --draft fold-deep/", "fold-deep/inner\n"),
        ("gpt2xl export in out --precision int8", "int8\nint8-weight\n"),
        ("gpt2xl generate --early-stopping n", "never\n"),
        ("gpt2xl batch -m owner/", "owner/made\nowner/fetched\n"),
        ("gpt2xl models rm owner/", "owner/made\nowner/fetched\n"),
        ("gpt2xl models where owner/m", "owner/made\n"),
    ],
)
def test_a_shell_completes_values_without_the_library(
    line: str, wanted: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "config.toml").write_text("[presets.mymine]\nseed = 1\n")
    for folder in ("fold-bundle", "fold-deep/inner", "fold-empty", ".fold-hidden"):
        (tmp_path / folder).mkdir(parents=True)
    for folder in ("fold-bundle", "fold-deep/inner"):
        (tmp_path / folder / "config.json").touch()
    (tmp_path / "fold-file").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cache" / "gpt2xl" / "owner--made-int8-0.0.1").mkdir(parents=True)
    for name, kind in (("fetched", "gpt2"), ("other", "bert")):
        snapshot = tmp_path / "hf" / "hub" / f"models--owner--{name}" / "snapshots" / "1"
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text(f'{{"model_type": "{kind}"}}')
    monkeypatch.setenv("GPT2XL_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("_GPT2XL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    done = without("numpy,onnxruntime,tokenizers,onnx,onnx_ir,safetensors")
    assert (done.stdout.strip("\n") + "\n", done.stderr) == (wanted, "")


INTERRUPTED = """
import os, signal
from gpt2xl_cli import __main__
__main__.keep_off_stderr = lambda: os.kill(os.getpid(), signal.SIGINT)
__main__.main()
"""


@pytest.mark.parametrize(
    ("environment", "status", "stderr"),
    [({"_GPT2XL_COMPLETE": "complete_bash"}, -2, ""), ({}, 130, "error: interrupted.\n")],
    ids=["a completion", "a command"],
)
def test_ctrl_c_in_a_completion_prints_nothing(
    environment: dict[str, str], status: int, stderr: str
) -> None:
    command = [sys.executable, "-c", INTERRUPTED, "models"]
    done = subprocess.run(
        command,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (status, "", stderr)


def test_help_needs_only_typer() -> None:
    absent = "numpy,onnxruntime,tokenizers,onnx,onnx_ir,safetensors"
    for arguments in (["-h"], ["generate", "-h"], ["export", "-h"], ["config", "-h"]):
        done = without(absent, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
