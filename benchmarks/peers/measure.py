"""Shared by the Python adapters: options, the measurement, and the line they print.

An adapter is a program, so that each run is a new process:

    python ADAPTER.py MODEL --prompt 64 --rows 1 --new 32 --threads 2

It loads MODEL and warms up with ``rows`` texts of ``prompt`` random ids and two new tokens each, because some systems
compile when they first see a shape. Then it measures with other ids and ``new`` tokens, and prints one line of JSON.
"""

import argparse
import json
import resource
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]  # [rows, length]
Generate = Callable[[Ids, int], list[float]]
"""(ids, tokens to generate a row) -> seconds from the call to each token."""


def run(package: str, load: Callable[[argparse.Namespace], Generate]) -> None:
    """Measure one model; ``package`` is the distribution whose version the line names."""
    options = _parser().parse_args()
    start = time.perf_counter()
    generate = load(options)
    load_s = time.perf_counter() - start
    generate(random_ids(options, seed=1), 2)
    warm_at = time.time()
    seconds = generate(random_ids(options, seed=0), options.new)
    line = {
        "version": f"{package} {version(package)}",
        "load_s": load_s,
        "warm_at": warm_at,
        **_rates(options, seconds),
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    print(json.dumps(line))


def random_ids(options: argparse.Namespace, seed: int) -> Ids:
    """``rows`` texts; texts of two seeds share no prefix, so no prefix cache helps."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, options.vocabulary, (options.rows, options.prompt))


def _rates(options: argparse.Namespace, seconds: list[float]) -> dict[str, float]:
    step = float(np.median(np.diff(seconds)))
    return {
        "prefill_tok_s": options.rows * options.prompt / seconds[0],
        "decode_tok_s": options.rows / step,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure one model in this process.")
    parser.add_argument("model", help="what the system loads: a file or a folder")
    parser.add_argument("--prompt", type=int, default=64, help="ids in each row")
    parser.add_argument("--rows", type=int, default=1, help="texts at once")
    parser.add_argument("--new", type=int, default=32, help="tokens to generate after each")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=50257, help="ids are below this")
    return parser
