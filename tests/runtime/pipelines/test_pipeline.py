"""The function `pipeline`: models, devices and arguments of transformers' function."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import gpt2xl
from gpt2xl import Gpt2xlWarning, Model, RequestError, pipeline
from gpt2xl.pipelines.pipeline import provider_of


def test_a_folder_or_a_name_is_loaded(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    generator = pipeline("text-generation", model=bundle, device=-1, tokenizer=str(bundle))
    assert generator.device == "cpu"
    assert generator.model.config.n_embd == 32
    assert generator.tokenizer is generator.model.tokenizer

    class Entry:
        def load(self) -> Callable[[str], Path]:
            return lambda name: bundle

    monkeypatch.setattr("gpt2xl.loading.entry_points", lambda group: [Entry()])
    assert pipeline("text-generation", model="gpt2-xl").model.config.n_embd == 32
    monkeypatch.setattr("gpt2xl.loading.entry_points", lambda group: [])
    with pytest.raises(gpt2xl.BundleError, match=r"pip install 'gpt2xl\[export,hub\]'"):
        pipeline("text-generation", model="gpt2-xl")


LOADING: list[tuple[dict[str, Any], str]] = [
    ({"task": "text2text-generation"}, "text-generation, feature-extraction"),
    ({"model": None}, "gpt2-xl"),
    ({"model": b""}, "bytes"),
    ({"device": "mps"}, "device has to be"),
    ({"device": 1}, "CUDA_VISIBLE_DEVICES"),
    ({"device": "cuda"}, "runs on cpu"),
    ({"framework": "pt"}, "framework"),
    ({"tokenizer": "other"}, "tokenizer"),
    ({"revision": "abc"}, "--revision"),
    ({"trust_remote_code": True}, "no code of a model"),
    ({"token": "hf_x"}, "HF_TOKEN"),
    ({"model_kwargs": {"load_in_8bit": True}}, "gpt2xl.load"),
]


@pytest.mark.parametrize(("given", "message"), LOADING, ids=lambda value: str(value))
def test_what_cannot_be_loaded_is_refused(
    model: Model, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        pipeline(**({"task": "text-generation", "model": model} | given))  # type: ignore[call-overload]


def test_arguments_that_agree_with_the_model_are_taken(model: Model) -> None:
    taken: dict[str, Any] = {
        "device": "cpu", "framework": None, "torch_dtype": "auto", "dtype": "torch.float32", "revision": "main",
        "trust_remote_code": False, "use_fast": True, "tokenizer": model.tokenizer, "model_kwargs": {},
    }  # fmt: skip
    assert pipeline("text-generation", model, **taken).model is model
    assert pipeline("feature-extraction", model, **taken).model is model


def test_another_dtype_warns_with_the_precision(model: Model) -> None:
    with pytest.warns(
        Gpt2xlWarning, match=r"bfloat16 has no effect: this bundle's precision is fp32"
    ):
        pipeline("text-generation", model=model, torch_dtype="torch.bfloat16")


@pytest.mark.parametrize(
    ("device", "provider"),
    [(-1, "cpu"), ("cpu", "cpu"), (0, "cuda"), ("cuda", "cuda"), ("cuda:0", "cuda"), (None, "auto"), ("auto", "auto")],
)  # fmt: skip
def test_devices_of_transformers_are_providers(device: object, provider: str) -> None:
    assert provider_of(device) == provider
