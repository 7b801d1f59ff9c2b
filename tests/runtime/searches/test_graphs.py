"""Beam search is the same on every kind of session, and of any bundle its scores are those of its texts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.searches.beam import beam_search
from gpt2xl.searches.candidates import log_probabilities
from gpt2xl.searches.settings import BeamSettings
from gpt2xl.sessions.device_engine import DeviceEngineSession
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions

CPU = LoadOptions(provider="cpu", threads=1)
PROMPT = np.random.default_rng(0).integers(0, 280, 30).tolist()
SETTINGS = [
    BeamSettings(4, num_return_sequences=4),
    BeamSettings(4, num_return_sequences=4, num_beam_groups=2, diversity_penalty=1.0),
]


def opened(folder: Path, kind: str) -> Session:
    bundle = open_bundle(folder)
    if kind == "portable":
        return open_session(replace(bundle, engine=None), CPU)
    if kind == "engine":
        return open_session(bundle, CPU)
    captures = replace(open_graph(bundle.graph, "cpu", CPU), captures_steps=kind == "captured")
    return DeviceEngineSession(captures, bundle.config)


@pytest.mark.parametrize("kind", ["portable", "device", "captured"])
@pytest.mark.parametrize("settings", SETTINGS, ids=["beams", "groups"])
def test_all_graphs_find_the_same_texts(bundle: Path, settings: BeamSettings, kind: str) -> None:
    found = [
        beam_search(opened(bundle, k), PROMPT, settings, max_new_tokens=20, eos_token_ids=[286])
        for k in ("engine", kind)
    ]
    for one, other in zip(*found, strict=True):
        assert one.ids == other.ids
        assert one.score == pytest.approx(other.score, abs=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_scores_are_those_of_the_texts(make_bundle: Callable[..., Path], precision: str) -> None:
    """Rows that were moved hold what a text alone would, but for the rounding of the precision."""
    session = opened(make_bundle(precision=precision), "engine")
    for text in beam_search(session, PROMPT, SETTINGS[0], max_new_tokens=12):
        ids = np.array([[*PROMPT, *text.ids[:-1]]])
        logits = session.forward(ids, session.new_cache(), keep=12)[0]
        total = log_probabilities(logits)[np.arange(12), text.ids].sum()
        assert text.score == pytest.approx(total / 12, abs=1e-4 if precision == "fp32" else 0.05)
