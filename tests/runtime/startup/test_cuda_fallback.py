"""What happens where CUDA was found but fails, or does not fit the bundle."""

from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from gpt2xl import BundleError, Gpt2xlWarning, ProviderError, load
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.startup.graph import OpenedGraph, open_graph
from gpt2xl.startup.options import LoadOptions
from gpt2xl.startup.providers import Device


def fails_on_cuda(monkeypatch: pytest.MonkeyPatch, reason: Exception) -> list[str]:
    """Pretend that onnxruntime has CUDA and that it fails; returns the devices that were tried."""
    tried: list[str] = []

    def opens(path: Path, device: Device, options: LoadOptions) -> OpenedGraph:
        tried.append(device)
        if device == "cuda":
            raise reason
        return open_graph(path, device, options)

    monkeypatch.setattr("gpt2xl.sessions.opening.choose_device", lambda provider: "cuda")
    monkeypatch.setattr("gpt2xl.sessions.opening.open_graph", opens)
    return tried


def test_auto_falls_back_to_the_cpu_where_cuda_does_not_start(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fails_on_cuda(monkeypatch, ProviderError("no driver."))
    monkeypatch.setattr("gpt2xl.sessions.opening.check_precision", lambda bundle: None)
    with pytest.warns(Gpt2xlWarning) as told:
        model = load(bundle)
    assert str(told[-1].message) == "running on the CPU: no driver."
    assert tried == ["cuda", "cpu"]
    assert model.generate("a", max_new_tokens=2, greedy=True).new_ids
    with pytest.raises(ProviderError):
        load(bundle, provider="cuda")


def test_auto_runs_other_precisions_on_the_cpu(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fails_on_cuda(monkeypatch, BundleError("stop"))
    with pytest.warns(Gpt2xlWarning, match=r"running on the CPU: .* float16 only"):
        load(bundle)
    assert tried == ["cpu"]


def test_float32_attention_is_refused_on_cuda(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fails_on_cuda(monkeypatch, BundleError("stop"))
    with pytest.raises(ProviderError, match="export with -p fp16"):
        load(bundle, provider="cuda")
    assert not tried


def test_a_graph_that_cannot_be_captured_runs_without_cuda_graph(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried = ort.InferenceSession, []

    def opens(path: Path, options: Any, providers: list[Any], enable_fallback: int) -> Any:
        tried.append(providers[0])
        if providers[0][1] == {"enable_cuda_graph": "1"}:
            raise RuntimeError("not all nodes are on CUDA")
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr("onnxruntime.InferenceSession", opens)
    monkeypatch.setattr("gpt2xl.startup.graph.load_cuda", lambda: None)
    with (
        pytest.warns(Gpt2xlWarning, match="runs without a CUDA graph: .*not all nodes"),
        pytest.raises(ProviderError, match="could not start"),  # as this session has no CUDA
    ):
        open_graph(open_bundle(bundle).graph, "cuda", LoadOptions())
    assert [options["enable_cuda_graph"] for _, options in tried] == ["1", "0"]


def test_a_device_failure_is_not_retried_without_cuda_graph(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opens(*_: Any, **__: Any) -> Any:
        raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected\nmore")

    monkeypatch.setattr("onnxruntime.InferenceSession", opens)
    monkeypatch.setattr("gpt2xl.startup.graph.load_cuda", lambda: None)
    with pytest.raises(
        ProviderError, match=r"^CUDA does not start: CUDA failure 100: no .* detected$"
    ):
        open_graph(open_bundle(bundle).graph, "cuda", LoadOptions())
