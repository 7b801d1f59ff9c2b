"""One bundle of the demo model per precision, and the tokens that every runtime has to give."""

import socket
from pathlib import Path
from typing import NoReturn

import pytest

import gpt2xl
from gpt2xl_export.export import export
from gpt2xl_export.graphs import ExportOptions
from gpt2xl_export.recipes import RECIPES

DEMO = Path(__file__).parents[2] / "models" / "demo"
PRECISIONS = [precision for precision in ("fp32", "int8", "int4") if precision in RECIPES]
PROMPTS = (
    "Once upon a time",
    "The king said to his daughter",
    "When the youngest son had gone a long way through the forest, he came to a house, and there",
    "And they all lived happily ever after.<|endoftext|>",
)
Continuations = dict[str, list[int]]


@pytest.fixture(autouse=True)
def no_host_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundle is a folder on this machine: whoever goes to a network for it fails the test."""

    def refuse(host: object, *_: object, **__: object) -> NoReturn:
        pytest.fail(f"{host!r} was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session", params=PRECISIONS)
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def demo() -> Path:
    """The demo checkpoint."""
    if not (DEMO / "config.json").is_file():
        pytest.skip(f"{DEMO} holds no checkpoint")
    return DEMO


@pytest.fixture(scope="session")
def folder(demo: Path, precision: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo as a bundle of ``precision``."""
    out = tmp_path_factory.mktemp("interop") / precision
    export(demo, out, ExportOptions(precision=precision))
    return out


@pytest.fixture(scope="session")
def model(folder: Path) -> gpt2xl.Model:
    """The bundle in our own runtime, which takes the engine graph."""
    return gpt2xl.load(folder)


@pytest.fixture(scope="session")
def expected(model: gpt2xl.Model) -> Continuations:
    """Prompt -> the 24 greedy tokens of our own runtime."""
    texts = {prompt: model.generate(prompt, greedy=True, max_new_tokens=24) for prompt in PROMPTS}
    assert {text.finish_reason for text in texts.values()} == {"length"}
    assert len({len(text.prompt_ids) for text in texts.values()}) > 2  # a batch needs padding
    return {prompt: text.new_ids for prompt, text in texts.items()}
