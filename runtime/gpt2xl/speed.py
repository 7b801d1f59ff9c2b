"""How fast a bundle is on this machine: loading, prompts, decoding, batches, memory."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.loading import load
from gpt2xl.sessions.logits import Ids
from gpt2xl.sessions.protocol import Session
from gpt2xl.startup.options import Provider

PROMPTS = (64, 512, 900)
CONTEXTS = (64, 900)
ROWS = (1, 8, 16)
ROW_CONTEXT = 64
TOP_K = 40
STEPS = 16  # decoded tokens; their median counts
BANDWIDTH_BYTES = 1 << 28  # per thread: far more than caches hold


@dataclass(frozen=True)
class Speed:
    """One figure."""

    name: str
    """load, prefill, decode, batch, peak memory, bandwidth or bandwidth reached."""
    size: int | None
    """Tokens of the prompt or the context, or rows."""
    value: float
    unit: str


def measure_speed(
    folder: Path,
    *,
    provider: Provider = "auto",
    threads: int = 0,
) -> Iterator[Speed]:
    """Measure the bundle in ``folder`` with random ids; sizes beyond its context are left out.

    Args:
        folder: of the bundle.
        provider: as of `load`.
        threads: as of `load`.

    Yields:
        Figures, as they are known. Peak memory is the process's, so measure one bundle a process.
    """
    start = time.perf_counter()
    model = load(folder, provider=provider, threads=threads)
    yield Speed("load", None, time.perf_counter() - start, "s")
    session, ids = model.session, _random_ids(model.config.vocab_size)
    session.forward(ids(1, 8), session.new_cache(capacity=8))  # the first run allocates
    for size in _within(session, PROMPTS):
        yield Speed("prefill", size, size / _prefill(session, ids(1, size)), "tokens/s")
    decoding = 0.0
    for size in _within(session, CONTEXTS):
        rate = 1 / _decode(session, ids(1, size), ids)
        decoding = decoding or rate
        yield Speed("decode", size, rate, "tokens/s")
    if session.shares_steps:
        for rows in ROWS if _within(session, (ROW_CONTEXT,)) else ():
            rate = rows / _decode(session, ids(rows, ROW_CONTEXT), ids)
            yield Speed("batch", rows, rate, "tokens/s")
    yield from _memory()
    if model.device != "cpu":
        return  # what follows is of the CPU's memory
    bandwidth = memory_bandwidth(threads or os.cpu_count() or 1)
    yield Speed("bandwidth", None, bandwidth / 1e9, "GB/s")
    if decoding:
        reached = decoding * open_bundle(folder).weights_size / bandwidth
        yield Speed("bandwidth reached", None, 100 * reached, "%")


def memory_bandwidth(threads: int) -> float:
    """Bytes a second that ``threads`` threads read together: the best of four dot products each."""
    arrays = [np.ones(BANDWIDTH_BYTES // 4, np.float32) for _ in range(threads)]

    def read(array: npt.NDArray[np.float32]) -> float:
        return float(np.dot(array, array))

    with ThreadPoolExecutor(threads) as pool:
        seconds = min(_timed(lambda: list(pool.map(read, arrays))) for _ in range(4))
    return threads * BANDWIDTH_BYTES / seconds


def _random_ids(vocab_size: int) -> Callable[[int, int], Ids]:
    rng = np.random.default_rng(0)
    return lambda rows, count: rng.integers(0, vocab_size, (rows, count))


def _within(session: Session, sizes: tuple[int, ...]) -> list[int]:
    return [size for size in sizes if size + STEPS <= session.n_positions]


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _prefill(session: Session, ids: Ids) -> float:
    """Seconds until the first logits: the better of two."""
    return min(
        _timed(lambda: session.forward(ids, session.new_cache(capacity=ids.shape[1])))
        for _ in range(2)
    )


def _decode(
    session: Session,
    prompt: Ids,
    ids: Callable[[int, int], Ids],
) -> float:
    """Seconds of a step after ``prompt``, for all rows."""
    rows, size = prompt.shape
    cache = session.new_cache(rows, capacity=size + STEPS)
    session.forward(prompt, cache)
    times = []
    for _ in range(STEPS):
        start = time.perf_counter()
        session.forward_top(ids(rows, 1), cache, TOP_K)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _memory() -> Iterator[Speed]:
    if sys.platform == "win32":  # nobody tells
        return
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield Speed("peak memory", None, peak * (1 if sys.platform == "darwin" else 1024) / 1e6, "MB")
