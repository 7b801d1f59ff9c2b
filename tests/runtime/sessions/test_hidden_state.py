"""The activations after the final layer norm equal those of the exporter's numpy forward pass."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from gpt2xl import RequestError
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.device_engine import DeviceEngineSession
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions
from gpt2xl_export.reference.forward import Reference, layer_norm
from gpt2xl_export.source.checkpoint import open_checkpoint

CPU = LoadOptions(provider="cpu", threads=1)
IDS = np.random.default_rng(0).integers(0, 280, (2, 40))


@pytest.fixture(scope="module")
def expected(checkpoint: Path) -> npt.NDArray[np.float32]:
    """[rows, n, n_embd]."""
    opened = open_checkpoint(checkpoint)
    reference = Reference(opened)
    states = reference.embed(IDS.tolist())
    for layer in range(opened.config.n_layer):
        states = reference.block(layer, states)
    norm = opened.load("ln_f.weight"), opened.load("ln_f.bias")
    return np.stack([layer_norm(x, *norm, opened.config.layer_norm_epsilon) for x in states])


@pytest.mark.parametrize("kind", ["engine", "device"])
@pytest.mark.parametrize("steps", [(40,), (25, 1, 14)], ids=str)
def test_the_hidden_state_equals_the_reference(
    bundle: Path, expected: npt.NDArray[np.float32], kind: str, steps: tuple[int, ...]
) -> None:
    opened = open_bundle(bundle)
    session = open_session(opened, CPU)
    if kind == "device":
        session = DeviceEngineSession(open_graph(opened.graph, "cpu", CPU), opened.config)
    for row in range(len(IDS)):
        cache, at = session.new_cache(), 0
        for step in steps:
            got = session.last_hidden_state(IDS[row : row + 1, at : at + step], cache)
            np.testing.assert_allclose(got, expected[[row], at : at + step], atol=2e-5)
            at += step
            assert cache.length == at


def test_rows_share_a_step(bundle: Path, expected: npt.NDArray[np.float32]) -> None:
    session = open_session(open_bundle(bundle), CPU)
    got = session.last_hidden_state(IDS, session.new_cache(2))
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_logits_and_states_take_turns_on_one_cache(bundle: Path) -> None:
    session = open_session(open_bundle(bundle), CPU)
    cache, other = session.new_cache(), session.new_cache()
    session.last_hidden_state(IDS[:1, :20], cache)
    session.forward(IDS[:1, :20], other)
    for at in range(20, 24):
        ids = IDS[:1, at : at + 1]
        assert np.array_equal(session.forward(ids, cache), session.forward(ids, other))
        for one in (cache, other):
            one.truncate(at)
        states = session.last_hidden_state(ids, cache), session.last_hidden_state(ids, other)
        assert np.array_equal(*states)


@pytest.mark.parametrize("kind", ["engine", "device"])
def test_logits_and_states_come_from_one_run(bundle: Path, kind: str) -> None:
    opened = open_bundle(bundle)
    session = open_session(opened, CPU)
    if kind == "device":
        session = DeviceEngineSession(open_graph(opened.graph, "cpu", CPU), opened.config)
    both, logits_only, states_only = (session.new_cache(2) for _ in range(3))
    for at in range(3):
        ids = IDS[:, at : at + 1]
        logits, states = session.logits_and_hidden_state(ids, both)
        assert np.array_equal(logits, session.forward(ids, logits_only))
        assert np.array_equal(states, session.last_hidden_state(ids, states_only))
        assert both.lengths.tolist() == [at + 1, at + 1]


def test_the_portable_graph_has_no_hidden_state(bundle: Path) -> None:
    session = open_session(replace(open_bundle(bundle), engine=None), CPU)
    with pytest.raises(RequestError, match=r"model\.onnx' has no output 'last_hidden_state'"):
        session.last_hidden_state(IDS, session.new_cache(2))
    with pytest.raises(RequestError, match=r"model\.onnx' has no output 'last_hidden_state'"):
        session.logits_and_hidden_state(IDS[:, :1], session.new_cache(2))


def test_a_prompt_of_several_pieces(make_bundle: Callable[..., Path]) -> None:
    folder = make_bundle({"n_positions": 600})
    session, ids = open_session(open_bundle(folder), CPU), np.tile(IDS, 7)[:1]
    states = session.last_hidden_state(ids, session.new_cache())
    wanted = session.forward(ids, session.new_cache(), keep=ids.shape[1])
    embedding = open_checkpoint(folder.parent / "checkpoint").load("wte.weight")
    np.testing.assert_allclose(states @ embedding.T, wanted, atol=1e-4)
