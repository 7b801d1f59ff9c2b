"""Options and prompts out of range: one line that names the option and its value."""

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, Popen

import onnxruntime
import pytest

Refused = Callable[..., str]
OPTIONS = {
    ("-n", "0"): "--max-new-tokens has to be >= 1, but is 0",
    ("-n", "-3"): "--max-new-tokens has to be >= 1, but is -3",
    ("--top-k", "-1"): "--top-k has to be >= 0 (0 keeps the whole vocabulary), but is -1",
    (
        "--temperature",
        "-1",
    ): "temperature has to be a number >= 0 (0 is greedy), but is -1.0",
    (
        "--temperature",
        "nan",
    ): "temperature has to be a number >= 0 (0 is greedy), but is nan",
    (
        "--temperature",
        "inf",
    ): "temperature has to be a number >= 0 (0 is greedy), but is inf",
    ("--seed", "-1"): "seed has to be >= 0, but is -1",
    ("--threads", "-1"): "threads has to be >= 0 (0: as onnxruntime chooses), but is -1",
    ("--threads", str(10**12)): f"but is {10**12}",
}


@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
@pytest.mark.parametrize(("option", "message"), OPTIONS.items(), ids=map("=".join, OPTIONS))
def test_an_option_out_of_range_is_named(
    option: tuple[str, str], message: str, json: list[str], bundle: Path, refused: Refused
) -> None:
    assert message in refused("generate", "-m", bundle, "Once", *option, *json)


def test_a_prompt_longer_than_the_context_is_refused(bundle: Path, refused: Refused) -> None:
    message = "the prompt has 97 tokens, but the model's context is 96: shorten it"
    assert message in refused("generate", "-m", bundle, "#" * 97)


@pytest.mark.skipif(
    "CUDAExecutionProvider" in onnxruntime.get_available_providers(),
    reason="this onnxruntime has CUDA",
)
def test_cuda_is_refused_if_onnxruntime_lacks_it(bundle: Path, refused: Refused) -> None:
    message = refused("generate", "-m", bundle, "Once", "--provider", "cuda")
    assert f"onnxruntime {onnxruntime.__version__} has no CUDA" in message
    assert "`pip install onnxruntime-gpu`" in message


@pytest.mark.parametrize("command", ["generate", "tokenize"])
def test_an_argument_has_to_be_utf_8(
    command: str,
    bundle: Path,
    spawn: Callable[..., Popen[bytes]],
    error_line: Callable[[CompletedProcess[str]], str],
) -> None:
    process = spawn(command, "-m", bundle, b"a\xffb")
    output, errors = (stream.decode() for stream in process.communicate(timeout=60))
    done = CompletedProcess([command], process.returncode, output, errors)
    assert "the text is not valid Unicode" in error_line(done)


@pytest.mark.parametrize("command", ["generate", "tokenize"])
def test_a_lone_surrogate_is_refused(command: str, bundle: Path, refused: Refused) -> None:
    assert "lone surrogate" in refused(command, "-m", bundle, "a\ud800b")


def test_a_prompt_cache_that_cannot_be_written_is_refused_before_anything_runs(
    bundle: Path, refused: Refused
) -> None:
    message = refused("generate", "-m", bundle, "Once", "--prompt-cache", "nowhere/cache.npz")
    assert "'nowhere/cache.npz' cannot be written: 'nowhere' is not a folder" in message


@pytest.mark.parametrize("command", [["bias", "-m"], ["bench"]])
def test_a_picture_that_cannot_be_written_is_refused_before_anything_runs(
    command: list[str], bundle: Path, refused: Refused
) -> None:
    pytest.importorskip("matplotlib")
    message = refused(*command, bundle, "--picture", "nowhere/x.png")
    assert "'nowhere/x.png' cannot be written: 'nowhere' is not a folder" in message


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_what_the_system_refuses_is_told_without_its_number(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPT2XL_CONFIG", "/proc/no/config.toml")
    message = refused("config", "set", "temperature", "1")
    assert message == "error: '/proc/no' cannot be used: No such file or directory.\n"


def test_a_model_is_one_value_and_not_a_preset_s(refused: Refused) -> None:
    assert "model takes one value, but has 2" in refused("config", "set", "model", "a", "b")
    message = refused("config", "set", "model", "a", "--preset", "mine")
    assert "a preset names no model: leave --preset out, or give -m" in message
