"""Shared by the adapters of `scoring.py`: the work they get, and the line they print.

An adapter is a program, so that each run is a new process: ``python ADAPTER.py MODEL WORK.json --threads 2``. WORK.json is a
list of continuations, [context, ids] each. It scores two of them to warm up, then all, and prints a line of JSON.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path

Work = list[tuple[list[int], list[int]]]
"""Contexts and the ids to score after them."""
Score = Callable[[Work], Iterable[float]]
"""Log-probabilities of continuations, in any order."""


def run(load: Callable[[argparse.Namespace], Score]) -> None:
    """Measure one model in this process."""
    parser = argparse.ArgumentParser(description="Score continuations.")
    parser.add_argument("model", type=Path, help="what the system loads")
    parser.add_argument("work", type=Path, help="JSON with the continuations")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rows", type=int, default=16, help="most continuations in a step")
    options = parser.parse_args()
    work = [(context, ids) for context, ids in json.loads(options.work.read_text())]
    score = load(options)
    loaded = _status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    list(score(work[:2]))
    start, cpu_start = time.perf_counter(), time.process_time()
    nats = math.fsum(score(work))
    line = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu_start,
        "nats": nats,
        "loaded_mb": loaded,
        "peak_mb": _status_mb("VmHWM"),
    }
    print(json.dumps(line))


def _status_mb(name: str) -> float:
    """A line of Linux's status of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
