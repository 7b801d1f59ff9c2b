"""A run is cancelled from another thread, and the cache is as before."""

import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from gpt2xl import BundleError
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.cancellation import Cancellation, Cancelled
from gpt2xl.sessions.device_engine import DeviceEngineSession
from gpt2xl.sessions.opening import open_session
from gpt2xl.sessions.protocol import Cache, Session
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.options import LoadOptions

ONE_THREAD = LoadOptions(provider="cpu", threads=1)
CONTEXT = 2048
KINDS = ["engine", "int8 engine", "portable", "device"]
IDS = np.random.default_rng(0).integers(0, 280, (1, CONTEXT))


@pytest.fixture
def session(request: pytest.FixtureRequest, make_bundle: Callable[..., Path]) -> Session:
    """A session that takes about a second for a prompt of its whole context."""
    kind = str(request.param)
    precision = "int8" if kind.startswith("int8") else "fp32"
    bundle = open_bundle(
        make_bundle({"n_positions": CONTEXT, "n_embd": 128, "n_layer": 4}, precision)
    )
    if kind == "device":
        opened = replace(open_graph(bundle.graph, "cpu", ONE_THREAD), captures_steps=True)
        return DeviceEngineSession(opened, bundle.config)
    return open_session(replace(bundle, engine=None) if kind == "portable" else bundle, ONE_THREAD)


def cancel_once_fed(cache: Cache, length: int, cancellation: Cancellation) -> None:
    """Wait until ``cache`` holds more than ``length`` tokens."""
    while cache.length <= length:
        time.sleep(0.001)
    cancellation.cancel()


def cancel_soon(cancellation: Cancellation) -> None:
    time.sleep(0.1)
    cancellation.cancel()


@pytest.mark.parametrize("session", KINDS, indirect=True)
def test_a_long_prompt_is_cancelled_and_the_cache_stays_usable(session: Session) -> None:
    cache, cancellation = session.new_cache(), Cancellation()
    session.forward(IDS[:, :20], cache)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(cancel_once_fed, cache, 20, cancellation)
        with pytest.raises(Cancelled):
            session.forward(IDS[:, 20:], cache, cancel=cancellation)
        other.result()
    assert cache.lengths.tolist() == [20]
    fresh = session.new_cache()
    session.forward(IDS[:, :20], fresh)
    for start, stop in ((20, 400), (400, 401)):
        wanted = session.forward(IDS[:, start:stop], fresh)
        assert np.array_equal(session.forward(IDS[:, start:stop], cache), wanted)


@pytest.mark.parametrize("session", ["engine"], indirect=True)
def test_a_single_run_is_ended_before_it_is_over(session: Session) -> None:
    """16 rows are one run, so only onnxruntime itself can notice the cancellation."""
    ids, cancellation = np.repeat(IDS, 16, 0), Cancellation()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(cancel_soon, cancellation)
        with pytest.raises(Cancelled):
            session.forward(ids, session.new_cache(16), cancel=cancellation)


@pytest.mark.parametrize("session", KINDS, indirect=True)
def test_nothing_is_fed_after_a_cancellation(session: Session) -> None:
    cache, cancellation = session.new_cache(), Cancellation()
    session.forward(IDS[:, :20], cache)
    cancellation.cancel()
    for ids in (IDS[:, :1], IDS[:, :300]):
        with pytest.raises(Cancelled):
            session.forward(ids, cache, cancel=cancellation)
        with pytest.raises(Cancelled):
            session.forward_top(ids, cache, 3, cancel=cancellation)
    assert cache.lengths.tolist() == [20]


@pytest.mark.parametrize("session", KINDS, indirect=True)
def test_an_unused_cancellation_changes_nothing(session: Session) -> None:
    first, second, cancellation = session.new_cache(), session.new_cache(), Cancellation()
    for start, stop in ((0, 300), (300, 301)):
        wanted = session.forward(IDS[:, start:stop], first)
        got = session.forward(IDS[:, start:stop], second, cancel=cancellation)
        assert np.array_equal(got, wanted)
    assert not cancellation.is_cancelled


@pytest.mark.parametrize("session", KINDS, indirect=True)
def test_a_failed_run_is_not_reported_as_cancelled(session: Session) -> None:
    cache, beyond_vocabulary = session.new_cache(), np.array([[5, 289]])
    with pytest.raises(BundleError, match="onnxruntime failed in"):
        session.forward(beyond_vocabulary, cache, cancel=Cancellation())
    assert cache.lengths.tolist() == [0]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers that send signals")
@pytest.mark.timeout(30)
def test_a_signal_handler_may_cancel_at_any_moment() -> None:
    cancellation = Cancellation()
    before = signal.signal(signal.SIGALRM, lambda *_: cancellation.cancel())
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    try:
        end, cancelled = time.monotonic() + 2, 0
        while time.monotonic() < end:
            cancellation = Cancellation()
            with suppress(Cancelled):
                for _ in range(1000):
                    with cancellation.watch(ort.RunOptions()):
                        pass
            cancelled += cancellation.is_cancelled
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert cancelled > 10
