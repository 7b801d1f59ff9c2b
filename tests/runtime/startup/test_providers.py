"""What this onnxruntime can run on."""

from pathlib import Path

import pytest

from gpt2xl import ProviderError, load
from gpt2xl.startup.providers import check_onnxruntime, choose_device


def test_cuda_is_refused_where_the_wheel_has_none() -> None:
    if choose_device("auto") == "cuda":
        pytest.skip("this onnxruntime has CUDA")
    assert choose_device("cpu") == "cpu"
    with pytest.raises(ProviderError, match=r"has no CUDA.*pip install onnxruntime-gpu"):
        choose_device("cuda")


@pytest.mark.parametrize("version", ["1.26.0", "1.9.0", "0.99.1"])
def test_an_onnxruntime_that_is_too_old_is_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr("onnxruntime.__version__", version)
    with pytest.raises(ProviderError, match=rf"needs onnxruntime 1\.27 .*, but this is {version}"):
        load(bundle)


@pytest.mark.parametrize("version", ["1.27.0", "1.33.0.dev20261101", "2.0.0"])
def test_a_newer_onnxruntime_is_accepted(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr("onnxruntime.__version__", version)
    check_onnxruntime()
