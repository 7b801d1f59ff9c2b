"""A bundle of the demo for each precision, and the tokens that every runtime has to give."""

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pytest

import gpt2xl
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.options import LoadOptions
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.recipes import RECIPES

DEMO = Path(__file__).parents[2] / "models" / "demo"
PRECISIONS = [precision for precision in ("fp32", "int8", "int4") if precision in RECIPES]
PROMPTS = (
    "Once upon a time",
    "The king said to his daughter",
    "When the youngest son had gone a long way through the forest, he came to a house, and there",
    "And they all lived happily ever after.<|endoftext|>",
)


@pytest.fixture(autouse=True)
def no_host_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles are local: a runtime that uses the network fails the test."""

    def refuse(host: object, *_: object, **__: object) -> NoReturn:
        pytest.fail(f"{host!r} was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session", params=PRECISIONS)
def precision(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def slack(precision: str) -> float:
    """The largest difference of a logit between two runs of one model.

    Where activations are quantized, another order of summation rounds one of them differently, and
    what follows differs by quantization noise: up to 0.36 between our two graphs, 0.04 on average.
    """
    return 1e-3 if precision == "fp32" else 0.5


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
    export(demo, out, ExportOptions(precision))
    return out


@pytest.fixture(scope="session")
def model(folder: Path) -> gpt2xl.Model:
    """The bundle in our runtime, which uses the engine graph."""
    return gpt2xl.load(folder)


@pytest.fixture(scope="session")
def prompts(model: gpt2xl.Model) -> dict[str, list[int]]:
    """Texts and their ids, of several lengths."""
    ids = {prompt: model.tokenizer.encode(prompt) for prompt in PROMPTS}
    assert len({len(row) for row in ids.values()}) > 2  # a batch needs padding
    return ids


@pytest.fixture(scope="session")
def engine_logits(folder: Path) -> Callable[[list[int]], npt.NDArray[np.float32]]:
    """Ids -> logits [n, vocab_size] of our engine graph, token by token."""
    session = open_session(open_bundle(folder), LoadOptions(provider="cpu"))

    def run(ids: list[int]) -> npt.NDArray[np.float32]:
        cache = session.new_cache()
        return np.concatenate(
            [session.forward(np.array([[token_id]]), cache)[:, -1] for token_id in ids]
        )

    return run


@pytest.fixture(scope="session")
def check(
    model: gpt2xl.Model,
    prompts: dict[str, list[int]],
    engine_logits: Callable[[list[int]], npt.NDArray[np.float32]],
    precision: str,
    slack: float,
) -> Callable[[Sequence[list[int]]], None]:
    """Assert that these are the 24 tokens that greedy decoding adds to each prompt.

    In float32 they are those of our own runtime; else the logit of each is the highest in our own
    runtime, give or take ``slack``.
    """

    def compare(rows: Sequence[list[int]]) -> None:
        for (prompt, ids), new_ids in zip(prompts.items(), rows, strict=True):
            assert len(new_ids) == 24
            if precision == "fp32":
                own = model.generate(prompt, greedy=True, max_new_tokens=24)
                assert new_ids == own.new_ids
            logits = engine_logits(ids + new_ids)[len(ids) - 1 : -1]
            chosen = np.take_along_axis(logits, np.array(new_ids)[:, None], -1)[:, 0]
            worst = float((logits.max(-1) - chosen).max())
            assert worst <= slack, model.tokenizer.decode(new_ids)

    return compare
