"""The session for a GPU, run on the CPU: a cache and captured steps at fixed addresses, top-k.

Kernels aside, it is the same code: onnxruntime copies between devices, or does not.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper
from tests.runtime.chains import chain_of

from gpt2xl import (
    GenerationOptions,
    Model,
    RequestError,
    load,
)
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.loop import Request, Token
from gpt2xl.decoding.samplers import greedy
from gpt2xl.decoding.scheduler import Scheduler
from gpt2xl.processors.ranking import largest
from gpt2xl.sessions.captured_step import device_value
from gpt2xl.sessions.device_cache import DeviceCache
from gpt2xl.sessions.device_engine import DeviceEngineSession
from gpt2xl.sessions.device_graphs import COPY_GRAPH, TOP_K_GRAPH, TopK
from gpt2xl.sessions.engine import EngineSession
from gpt2xl.sessions.protocol import Ids, Session, TopLogits
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions

IDS = np.random.default_rng(0).integers(0, 280, (1, 40))
IDS_96 = np.random.default_rng(0).integers(0, 280, (1, 96))
RNG = np.random.default_rng(1)


ONE_THREAD = LoadOptions(provider="cpu", threads=1)


def on_device(folder: Path, *, captures_steps: bool = False) -> DeviceEngineSession:
    bundle = open_bundle(folder)
    opened = open_graph(bundle.graph, "cpu", ONE_THREAD)
    return DeviceEngineSession(replace(opened, captures_steps=captures_steps), bundle.config)


def largest_of(
    session: DeviceEngineSession, ids: Ids, cache: DeviceCache, top_k: int
) -> npt.NDArray[np.int64]:
    top = session.forward_top(ids, cache, top_k)
    assert isinstance(top, TopLogits)
    return top.ids


def plain(folder: Path) -> EngineSession:
    bundle = open_bundle(folder)
    return EngineSession(open_graph(bundle.graph, "cpu", ONE_THREAD), bundle.config)


@pytest.mark.parametrize("captures_steps", [False, True])
@pytest.mark.parametrize("steps", [(40,), (1,) * 40, (17, 1, 1, 12, 1, 8)], ids=str)
def test_logits_and_cache_equal_those_on_the_cpu(
    bundle: Path, captures_steps: bool, steps: tuple[int, ...]
) -> None:
    device, host = on_device(bundle, captures_steps=captures_steps), plain(bundle)
    cache, expected, at = device.new_cache(), host.new_cache(), 0
    for step in steps:
        ids = IDS[:, at : at + step]
        at += step
        np.testing.assert_allclose(
            device.forward(ids, cache), host.forward(ids, expected), rtol=1e-4, atol=1e-5
        )
    assert ("step" in vars(cache)) == (captures_steps and 1 in steps[1:])
    for got, wanted in zip(cache.keys_and_values, expected.keys_and_values, strict=True):
        assert np.abs(got.astype(float) - wanted.astype(float)).max() < 1e-4


def test_rows_of_different_lengths_replay_a_captured_step(bundle: Path) -> None:
    device, host = on_device(bundle, captures_steps=True), plain(bundle)
    cache, ids = device.new_cache(3), np.repeat(IDS[:, :9], 3, 0)
    device.forward(ids, cache)
    cache.lengths[:] = 9, 4, 6
    token = np.array([[5], [6], [7]])
    got = device.forward(token, cache)
    for row, length in enumerate((9, 4, 6)):
        alone = host.new_cache()
        host.forward(IDS[:, :length], alone)
        np.testing.assert_allclose(got[row], host.forward(token[[row]], alone)[0], atol=1e-4)
    assert cache.lengths.tolist() == [10, 5, 7]


def test_a_cache_is_filled_from_a_cache_on_the_cpu(bundle: Path) -> None:
    device, host = on_device(bundle), plain(bundle)
    first, second = host.new_cache(), device.new_cache()
    host.forward(IDS[:, :30], first)
    second.fill(first.keys_and_values)
    np.testing.assert_allclose(
        device.forward(IDS[:, 30:], second), host.forward(IDS[:, 30:], first), atol=1e-4
    )
    second.truncate(10)
    fresh = host.new_cache()
    host.forward(IDS[:, :10], fresh)
    np.testing.assert_allclose(
        device.forward(IDS[:, :3], second, keep=3),
        host.forward(IDS[:, :3], fresh, keep=3),
        atol=1e-4,
    )
    with pytest.raises(ValueError, match="another shape"):
        second.fill([values[:, 1:] for values in first.keys_and_values])


@pytest.mark.parametrize(
    "options", [{"greedy": True}, {"seed": 3}, {"seed": 3, "top_k": 0}], ids=str
)
@pytest.mark.parametrize("captures_steps", [False, True])
def test_texts_equal_those_on_the_cpu(
    bundle: Path, options: dict[str, Any], captures_steps: bool
) -> None:
    model = load(bundle, provider="cpu", threads=1)
    moved = Model(
        model.config,
        model.tokenizer,
        on_device(bundle, captures_steps=captures_steps),
        open_bundle(bundle),
    )
    for prompt in ("Once upon a time", "Once upon a", "", "Once upon a time there"):
        expected = model.generate(prompt, max_new_tokens=30, **options)
        assert moved.generate(prompt, max_new_tokens=30, **options).new_ids == expected.new_ids
    wanted = dict(model.generate_batch(["a", "b", "c"], max_new_tokens=9, **{"seed": 1} | options))
    got = dict(moved.generate_batch(["a", "b", "c"], max_new_tokens=9, **{"seed": 1} | options))
    assert {n: t.new_ids for n, t in got.items()} == {n: t.new_ids for n, t in wanted.items()}


@pytest.mark.parametrize("captures_steps", [False, True])
def test_finished_rows_are_reused_for_other_texts(bundle: Path, captures_steps: bool) -> None:
    model = load(bundle, provider="cpu", threads=1)
    moved = Model(
        model.config,
        model.tokenizer,
        on_device(bundle, captures_steps=captures_steps),
        open_bundle(bundle),
    )
    prompts = ["a", "b" * 90, "c", "d" * 88, "e", "f"]  # those of 90 and 88 have room for few
    options: dict[str, Any] = {"max_new_tokens": 12, "seed": 4, "rows": 3}
    wanted = dict(model.generate_batch(prompts, **options))
    got = dict(moved.generate_batch(prompts, **options))
    assert {n: t.new_ids for n, t in got.items()} == {n: t.new_ids for n, t in wanted.items()}
    assert len({len(text.new_ids) for text in got.values()}) > 1


def test_unused_rows_of_a_captured_step_change_nothing(bundle: Path) -> None:
    device, host = on_device(bundle, captures_steps=True), plain(bundle)
    cache, token = device.new_cache(4), np.array([[5], [6]])
    for row, length in enumerate((9, 4, 96, 7)):  # the third is full
        device.forward(IDS_96[:, :length], cache.rows(row, row + 1))
    before = [values.copy() for values in cache.keys_and_values]
    got = device.forward(token, cache.rows(0, 2))
    assert "step" in vars(cache)
    assert cache.lengths.tolist() == [10, 5, 96, 7]
    assert got.shape == (2, 1, 289)
    for row, length in enumerate((9, 4)):
        alone = host.new_cache()
        host.forward(IDS_96[:, :length], alone)
        np.testing.assert_allclose(got[row], host.forward(token[[row]], alone)[0], atol=1e-4)
    for was, now in zip(before, cache.keys_and_values, strict=True):
        assert np.array_equal(was[2, :, :95], now[2, :, :95])
        assert np.array_equal(was[3, :, :7], now[3, :, :7])
    assert largest_of(device, token, cache.rows(0, 2), 3).shape == (2, 1, 3)


def test_each_text_of_a_batch_has_its_own_top_k(bundle: Path) -> None:
    def texts(session: Session, rows: int) -> list[tuple[int, int]]:
        scheduler, found = Scheduler(session, rows=rows), list[tuple[int, Token]]()
        for number, top_k in enumerate((0, 1, 40, 3, 289)):
            chain = chain_of(GenerationOptions(top_k=top_k, temperature=1.0), seed=7)
            scheduler.submit(Request(IDS[0, : 5 + number].tolist(), chain, 9))
        while not scheduler.is_idle:
            for number, token in scheduler.step():
                assert isinstance(token, Token)
                found.append((number, token))
        return sorted((number, token.id) for number, token in found)

    assert texts(on_device(bundle), 3) == texts(plain(bundle), 1)


def test_the_serialized_top_k_graph_equals_a_built_one() -> None:
    value = helper.make_tensor_value_info
    whole, kept = ["batch_size", "keep", "vocab_size"], ["batch_size", "keep", "k"]
    graph = helper.make_graph(
        [helper.make_node("TopK", ["logits", "k"], ["top_logits", "top_ids"])],
        "top_k",
        [value("logits", TensorProto.FLOAT, whole), value("k", TensorProto.INT64, [1])],
        [value("top_logits", TensorProto.FLOAT, kept), value("top_ids", TensorProto.INT64, kept)],
    )
    expected = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    assert onnx.load_from_string(TOP_K_GRAPH) == expected


def test_the_serialized_copy_graph_equals_a_built_one() -> None:
    source, target = (
        helper.make_tensor_value_info(name, TensorProto.UINT8, ["bytes"])
        for name in ("source", "target")
    )
    node = helper.make_node("Identity", ["source"], ["target"])
    graph = helper.make_graph([node], "copy", [source], [target])
    expected = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    assert onnx.load_from_string(COPY_GRAPH) == expected


def test_rows_are_copied_and_fed_in_place(bundle: Path) -> None:
    device, host = on_device(bundle), plain(bundle)
    cache = device.new_cache(4)
    device.forward(IDS[:, :20], cache.rows(3, 4))
    cache.rows(1, 4).copy_row(2, 0)
    assert cache.lengths.tolist() == [0, 20, 0, 20]
    expected = host.new_cache()
    host.forward(IDS[:, :20], expected)
    for got, wanted in zip(cache.keys_and_values, expected.keys_and_values, strict=True):
        for row in (1, 3):
            assert np.abs(got[row].astype(float) - wanted[0].astype(float)).max() < 1e-4
        assert not got[[0, 2]].any()


def test_more_rows_than_memory_allows_are_refused(bundle: Path) -> None:
    with pytest.raises(RequestError, match="no room on cpu for the KV cache of 100000000 rows"):
        on_device(bundle).new_cache(100_000_000)


@pytest.mark.parametrize("k", [1, 3, 40])
def test_top_k_keeps_the_lowest_ids_of_a_tie(k: int) -> None:
    logits = RNG.integers(0, 30, (2, 3, 100)).astype(np.float32)
    got = TopK(["CPUExecutionProvider"])(device_value(logits, "cpu"), k)
    assert got.ids.shape == (2, 3, k)
    for at in np.ndindex(2, 3):
        ids = got[at].ids
        assert np.array_equal(ids, np.sort(largest(logits[at], k)))
        assert np.array_equal(got[at].logits, logits[at][ids])
        assert Chain().choose([], got[at]) == greedy(logits[at])


def test_a_captured_step_is_released_with_its_cache(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, released = on_device(bundle, captures_steps=True), list[int]()
    monkeypatch.setattr(session.session, "release_captured_graph", released.append, raising=False)
    for expected in (1, 2):
        cache = session.new_cache(2)
        session.forward(IDS[:, :4], cache.rows(0, 1))
        session.forward(np.array([[5]]), cache.rows(0, 1))
        del cache
        assert len(released) == expected


def test_a_top_k_above_the_vocabulary_is_all_of_it(bundle: Path) -> None:
    wanted = load(bundle).generate("Once", top_k=10**6, seed=1, max_new_tokens=5).new_ids
    device = on_device(bundle)
    model = load(bundle)
    assert (
        Model(model.config, model.tokenizer, device)
        .generate("Once", top_k=10**6, seed=1, max_new_tokens=5, prompt_lookup=False)
        .new_ids
        == wanted
    )
