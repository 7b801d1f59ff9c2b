"""Rows of a cache may be copied onto each other in any way, on every kind of session."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.device_cache import moves_of
from gpt2xl.sessions.device_engine import DeviceEngineSession
from gpt2xl.sessions.engine import EngineSession
from gpt2xl.sessions.portable import PortableSession
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions

IDS = np.random.default_rng(0).integers(0, 280, (4, 12))
LENGTHS = (5, 9, 3, 7)
KINDS = ["engine", "portable", "device"]
ORDERS = [[0, 1, 2, 3], [0, 0, 0, 0], [3, 2, 1, 0], [1, 2, 3, 0], [1, 0, 1, 2]]


def opened(folder: Path, kind: str) -> Session:
    bundle, options = open_bundle(folder), LoadOptions(provider="cpu", threads=1)
    path = bundle.portable if kind == "portable" else bundle.engine
    assert path is not None
    graph = open_graph(path, "cpu", options)
    classes = {
        "engine": EngineSession,
        "portable": PortableSession,
        "device": DeviceEngineSession,
    }
    session: Session = classes[kind](graph, bundle.config)
    return session


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sources", ORDERS, ids=str)
def test_rows_become_what_their_sources_were(bundle: Path, kind: str, sources: list[int]) -> None:
    session = opened(bundle, kind)
    cache, next_ids = session.new_cache(4, capacity=12), IDS[:, -1:]
    for row, length in enumerate(LENGTHS):
        session.forward(IDS[row : row + 1, :length], cache.rows(row, row + 1))
    cache.reorder(sources)
    assert cache.lengths.tolist() == [LENGTHS[source] for source in sources]
    for row, source in enumerate(sources):
        got = session.forward(next_ids[row : row + 1], cache.rows(row, row + 1))
        alone = session.new_cache()
        session.forward(IDS[source : source + 1, : LENGTHS[source]], alone)
        wanted = session.forward(next_ids[row : row + 1], alone)
        np.testing.assert_allclose(got, wanted, atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_shared_positions_may_stay(bundle: Path, kind: str) -> None:
    session = opened(bundle, kind)
    cache, expected = session.new_cache(4, capacity=12), session.new_cache(4, capacity=12)
    ids = np.concatenate([np.tile(IDS[:1, :6], (4, 1)), IDS[:, 6:9]], 1)
    for one, shared in ((cache, 6), (expected, 0)):
        session.forward(ids, one)
        one.reorder([2, 0, 3, 3], shared)
    for got, wanted in zip(cache.keys_and_values, expected.keys_and_values, strict=True):
        assert np.abs(got.astype(float) - wanted.astype(float)).max() < 1e-6
    step = IDS[:, -1:]
    np.testing.assert_allclose(session.forward(step, cache), session.forward(step, expected))


def test_only_positions_that_differ_are_copied(bundle: Path) -> None:
    session = opened(bundle, "engine")
    cache = session.new_cache(2, capacity=12)
    session.forward(IDS[:2, :9], cache)
    before = [values.copy() for values in cache.keys_and_values]
    cache.reorder([0, 0], shared=6)
    for got, old in zip(cache.keys_and_values, before, strict=True):
        assert np.array_equal(got[1, :, :6], old[1, :, :6])
        assert np.array_equal(got[1, :, 6:9], old[0, :, 6:9])
        assert not np.array_equal(old[0], old[1])


def test_rows_of_a_view_are_reordered_on_a_device(bundle: Path) -> None:
    session = opened(bundle, "device")
    cache = session.new_cache(4)
    session.forward(IDS[:, :9], cache)
    before = [np.array(values) for values in cache.keys_and_values]
    cache.rows(1, 4).reorder([2, 0, 1])
    for got, old in zip(cache.keys_and_values, before, strict=True):
        assert np.array_equal(got, old[[0, 3, 1, 2]])


@given(st.lists(st.integers(0, 7), min_size=8, max_size=8))
def test_moves_one_after_the_other_do_what_is_asked(sources: list[int]) -> None:
    places = [*range(8), -1]
    moves = moves_of(sources)
    for source, target in moves:
        places[target] = places[source]
    assert places[:8] == sources
    assert len(moves) <= 8 + 4
