"""Packing of weights while a graph is opened."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.engine import EngineSession
from gpt2xl.startup.graph import PLENTY, open_graph, packs_in_parallel
from gpt2xl.startup.options import LoadOptions
from gpt2xl.startup.session_options import session_options

MB = 1 << 20


@pytest.mark.parametrize(
    ("left", "packs"), [(None, False), (100 * MB, False), (249 * MB, False), (250 * MB, True)]
)
def test_weights_are_packed_in_parallel_where_memory_is_plenty(
    monkeypatch: pytest.MonkeyPatch, left: int | None, packs: bool
) -> None:
    monkeypatch.setattr("gpt2xl.startup.graph.memory_left", lambda: left)
    assert packs_in_parallel(100 * MB) is packs
    assert PLENTY == 2.5


@pytest.mark.parametrize("packs", [False, True])
def test_the_session_option_is_set(packs: bool) -> None:
    made = session_options(LoadOptions(), packs_in_parallel=packs)
    assert made.get_session_config_entry("session.prepack.enable_parallel") == str(int(packs))


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-weight", "int4"])
def test_parallel_packing_changes_no_bit(
    make_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    bundle = open_bundle(make_bundle({"n_embd": 64}, precision))
    ids, found = np.arange(60)[None], []
    for left in (0, 1 << 40):
        monkeypatch.setattr("gpt2xl.startup.graph.memory_left", lambda left=left: left)
        opened = open_graph(bundle.graph, "cpu", LoadOptions(threads=2))
        session = EngineSession(opened, bundle.config)
        found.append(session.forward(ids, session.new_cache()))
    assert np.array_equal(found[0], found[1])
