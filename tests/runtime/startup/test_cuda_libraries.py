"""Checks before CUDA is used, and their error messages; needs no GPU."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import ProviderError
from gpt2xl.bundle.bundle import Bundle
from gpt2xl.bundle.config import GPT2Config
from gpt2xl.bundle.manifest import Manifest
from gpt2xl.startup.cuda import XQA, check_precision, choose_attention, load_cuda

SAID = """Failed to load /site/libcublas.so.13: no such file
Failed to load libcublas.so.13: cannot open shared object file
Please follow https://example.org to install CUDA.
"""


@pytest.mark.parametrize("precision", ["fp16", "int4-fp16", None])
def test_float16_and_foreign_bundles_may_run_on_cuda(precision: str | None) -> None:
    check_precision(bundle_of(precision))


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-weight", "int4"])
def test_other_precisions_are_refused_on_cuda(precision: str) -> None:
    with pytest.raises(ProviderError, match="export with -p fp16 or -p int4-fp16"):
        check_precision(bundle_of(precision))


def bundle_of(precision: str | None) -> Bundle:
    manifest = None if precision is None else Manifest(precision)
    config: Any = GPT2Config
    return Bundle(Path(), config, None, Path("model.onnx"), manifest)


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr("gpt2xl.startup.cuda.CDLL", nothing)
    with pytest.raises(ProviderError, match="no NVIDIA driver here"):
        load_cuda()


def preload(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setattr("gpt2xl.startup.cuda.CDLL", lambda name: None)
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: sys.stdout.write(said), raising=False)


def test_a_missing_library_is_named_and_nothing_printed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    preload(monkeypatch, SAID)
    with pytest.raises(ProviderError, match=r"^Failed to load libcublas.so.13: .*\[cuda,cudnn\]"):
        load_cuda()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("said", ["", SAID.splitlines()[0] + "\n"])
def test_a_library_found_elsewhere_is_not_missing(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    preload(monkeypatch, said)
    load_cuda()


def test_output_of_other_threads_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(print, "from another thread").result()
        sys.stdout.write(SAID)

    preload(monkeypatch, "")
    monkeypatch.setattr("onnxruntime.preload_dlls", slow, raising=False)
    with pytest.raises(ProviderError, match=r"libcublas"):
        load_cuda()
    assert capsys.readouterr().out == "from another thread\n"


@pytest.mark.parametrize(("chosen", "then"), [(None, "0"), ("1", "1")])
def test_xqa_is_off_unless_the_user_has_chosen(
    monkeypatch: pytest.MonkeyPatch, chosen: str | None, then: str
) -> None:
    monkeypatch.setenv(XQA, "")  # so that it is restored
    monkeypatch.delenv(XQA)
    if chosen:
        monkeypatch.setenv(XQA, chosen)
    choose_attention()
    assert os.environ[XQA] == then
