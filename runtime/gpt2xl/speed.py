"""How fast a bundle is on this machine: loading, prompts, decoding, batches, memory."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import numpy.typing as npt

from gpt2xl.decoding.chain import Chain
from gpt2xl.decoding.loop import Request
from gpt2xl.decoding.samplers import Categorical
from gpt2xl.decoding.scheduler import Scheduler
from gpt2xl.loading import load
from gpt2xl.model import Model
from gpt2xl.options.keywords import updated
from gpt2xl.processors.scaling import temperature
from gpt2xl.processors.truncation import top_k
from gpt2xl.sessions.protocol import Ids, Session
from gpt2xl.startup.options import LoadKeywords, LoadOptions

PROMPTS = (64, 512, 900)  # tokens
CONTEXTS = (64, 900)  # tokens
ROWS = (1, 8, 16)
ROW_CONTEXT = 64  # tokens of each row's prompt
TOP_K = 40
STEPS = 16  # decoded tokens; their median counts
BATCH_TOKENS = 2 * STEPS  # of each row: the first rows decode while other prompts are fed
BANDWIDTH_BYTES = 1 << 28  # per thread: far more than caches hold
SIZES = {"prefill": "{} tokens", "decode": "after {} tokens", "batch": "{} rows"}

RandomIds = Callable[[int], Ids]


@dataclass(frozen=True)
class Speed:
    """One figure."""

    name: str
    """load, prefill, decode, batch, peak memory, bandwidth or bandwidth reached."""
    size: int | None
    """Tokens of the prompt or the context, or rows."""
    value: float
    unit: str

    @property
    def label(self) -> str:
        """Name and size.

        >>> Speed("decode", 64, 18.4, "tokens/s").label
        'decode, after 64 tokens'
        """
        size = "1 row" if (self.name, self.size) == ("batch", 1) else self._sized()
        return f"{self.name}, {size}" if size else self.name

    def _sized(self) -> str:
        return SIZES.get(self.name, "").format(self.size)


def measure_speed(
    folder: str | Path,
    options: LoadOptions | None = None,
    **keywords: Unpack[LoadKeywords],
) -> Iterator[Speed]:
    """Measure the bundle in ``folder`` with random ids; sizes beyond its context are left out.

    Args:
        folder: as of `load`.
        options: as of `load`.
        **keywords: as of `load`.

    Yields:
        Figures, as they are known; batches of several rows only where they share steps. Peak memory is the
        process's, so measure one bundle a process.
    """
    options = updated(LoadOptions() if options is None else options, keywords)
    start = time.perf_counter()
    model = load(folder, options)
    yield Speed("load", None, time.perf_counter() - start, "s")
    session, ids = model.session, _random_ids(model.config.vocab_size)
    session.forward(ids(8), session.new_cache(capacity=8))  # the first run allocates
    for size in _within(session, PROMPTS):
        yield Speed("prefill", size, size / _prefill(session, ids(size)), "tokens/s")
    decoding = 0.0
    for size in _within(session, CONTEXTS):
        rate = 1 / _decode(session, ids(size), ids)
        decoding = decoding or rate
        yield Speed("decode", size, rate, "tokens/s")
    for rows in _rows(model):
        yield Speed("batch", rows, rows / _batch_step(model, rows, ids), "tokens/s")
    yield from _memory()
    if model.device == "cpu":
        yield from _bandwidth(model, decoding, options.threads)


def memory_bandwidth(threads: int) -> float:
    """Bytes a second that ``threads`` threads read together: the best of four dot products each."""
    arrays = [np.ones(BANDWIDTH_BYTES // 4, np.float32) for _ in range(threads)]

    def read(array: npt.NDArray[np.float32]) -> float:
        return float(np.dot(array, array))

    with ThreadPoolExecutor(threads) as pool:
        seconds = min(_timed(lambda: list(pool.map(read, arrays))) for _ in range(4))
    return threads * BANDWIDTH_BYTES / seconds


def _random_ids(vocab_size: int) -> RandomIds:
    rng = np.random.default_rng(0)
    return lambda count: rng.integers(0, vocab_size, (1, count))


def _within(session: Session, sizes: tuple[int, ...]) -> list[int]:
    return [size for size in sizes if size + STEPS <= session.n_positions]


def _rows(model: Model) -> tuple[int, ...]:
    if model.session.n_positions < ROW_CONTEXT + BATCH_TOKENS:
        return ()
    return ROWS if model.shares_steps else ROWS[:1]


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


def _decode(session: Session, prompt: Ids, ids: RandomIds) -> float:
    """Seconds of a step after ``prompt``."""
    cache = session.new_cache(capacity=prompt.shape[1] + STEPS)
    session.forward(prompt, cache)
    return statistics.median(
        _timed(lambda: session.forward_top(ids(1), cache, TOP_K)) for _ in range(STEPS)
    )


def _batch_step(model: Model, rows: int, ids: RandomIds) -> float:
    """Seconds of a step of `generate_batch` in which all ``rows`` decode."""
    scheduler, started = Scheduler(model.session, rows=rows), set[int]()
    for seed in range(rows):
        prompt = ids(ROW_CONTEXT)[0].tolist()
        scheduler.submit(Request(prompt, _chain(seed), BATCH_TOKENS))
    while len(started) < rows:
        started |= {number for number, _ in scheduler.step()}
    return statistics.median(_timed(scheduler.step) for _ in range(STEPS))


def _chain(seed: int) -> Chain:
    return Chain((top_k(TOP_K), temperature(0.8)), Categorical(seed), TOP_K)


def _bandwidth(model: Model, decoding: float, threads: int) -> Iterator[Speed]:
    """The memory's bandwidth, and how much of it reading all weights for each decoded token takes."""
    bandwidth = memory_bandwidth(threads or os.cpu_count() or 1)
    yield Speed("bandwidth", None, bandwidth / 1e9, "GB/s")
    if decoding and model.bundle:
        reached = decoding * model.bundle.weights_size / bandwidth
        yield Speed("bandwidth reached", None, 100 * reached, "%")


def _memory() -> Iterator[Speed]:
    if sys.platform == "win32":  # has no resource module
        return
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield Speed("peak memory", None, peak * (1 if sys.platform == "darwin" else 1024) / 1e6, "MB")
