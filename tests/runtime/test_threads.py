"""Threads that share a model, interleaved streams, concurrent loads: each text equals the one alone."""

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

import gpt2xl
from gpt2xl import LoadOptions, Model
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.device_engine import DeviceEngineSession
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.graph import open_graph

# int4 and the portable graph generate the texts of a batch one after the other, and say so.
pytestmark = pytest.mark.filterwarnings("ignore:texts are generated one after the other")
Texts = dict[tuple[str, int], list[int]]
KINDS = ("fp32", "int8", "int4", "portable", "device")
PROMPTS = ("Once upon a time", "Once upon a time there was a king", "", "said the king " * 20)
SEEDS = range(6)


def written(model: Model, prompt: str, seed: int) -> list[int]:
    options: dict[str, Any] = {"greedy": True} if seed == 0 else {"seed": seed}
    return model.generate(prompt, max_new_tokens=12 + seed, **options).new_ids


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, make_bundle: Callable[..., Path]) -> Model:
    kind = str(request.param)
    precision = kind if kind.startswith("int") else "fp32"
    folder = make_bundle({"n_positions": 300}, precision=precision)
    loaded = gpt2xl.load(folder, threads=1)
    bundle = open_bundle(folder)
    if kind == "portable":
        session = open_session(replace(bundle, engine=None), LoadOptions(provider="cpu", threads=1))
        return Model(loaded.config, loaded.tokenizer, session, bundle)
    if kind == "device":
        device = DeviceEngineSession(
            replace(open_graph(bundle.graph, "cpu", LoadOptions(threads=1)), captures_steps=True),
            bundle.config,
        )
        return Model(loaded.config, loaded.tokenizer, device, bundle)
    return loaded


@pytest.fixture(scope="module")
def alone(model: Model) -> Texts:
    """Each text from an empty cache."""
    texts = {}
    for prompt in PROMPTS:
        for seed in SEEDS:
            model.clear_cache()
            texts[prompt, seed] = written(model, prompt, seed)
    assert len({tuple(ids) for ids in texts.values()}) > len(texts) // 2
    return texts


def test_threads_share_a_model(model: Model, alone: Texts) -> None:
    with ThreadPoolExecutor(4) as pool:
        futures = {key: pool.submit(written, model, *key) for key in [*alone] * 3}
        assert {key: future.result() for key, future in futures.items()} == alone


def test_streams_take_turns(model: Model, alone: Texts) -> None:
    def ids(prompt: str, seed: int) -> Iterator[int]:
        options: dict[str, Any] = {"greedy": True} if seed == 0 else {"seed": seed}
        return (piece.id for piece in model.stream(prompt, max_new_tokens=12 + seed, **options))

    streams = {key: ids(*key) for key in alone}
    columns = zip_longest(*streams.values())
    rows = [[i for i in row if i is not None] for row in zip(*columns, strict=True)]
    ends = model.config.eos_token_ids
    got = {k: [i for i in row if i not in ends] for k, row in zip(streams, rows, strict=True)}
    assert got == {k: [i for i in ids if i not in ends] for k, ids in alone.items()}


def test_batches_and_single_texts_share_a_model(model: Model, alone: Texts) -> None:
    def batch() -> list[list[int]]:
        texts = model.generate_batch([PROMPTS[0]] * 5, rows=3, max_new_tokens=30, seed=9)
        return [text.new_ids for _, text in sorted(texts, key=lambda item: item[0])]

    expected = batch()
    with ThreadPoolExecutor(4) as pool:
        batches = [pool.submit(batch) for _ in range(3)]
        futures = {key: pool.submit(written, model, *key) for key in alone}
        assert {key: future.result() for key, future in futures.items()} == alone
        assert [future.result() for future in batches] == [expected] * 3


def test_threads_load_generate_and_drop_models(make_bundle: Callable[..., Path]) -> None:
    folder = make_bundle({"n_positions": 600})
    prompt = "a b " * 150  # long enough for pages to be handed back
    expected = written(gpt2xl.load(folder, threads=1), prompt, 1)

    def round_trip(_: int) -> list[int]:
        made = gpt2xl.load(folder, threads=1)
        ids = written(made, prompt, 1)
        del made
        gc.collect()
        return ids

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(round_trip, range(16))) == [expected] * 16
