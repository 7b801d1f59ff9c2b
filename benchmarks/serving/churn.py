"""Connections that end at random moments: rows, threads, files and memory have to be as before.

    python benchmarks/serving/churn.py BUNDLE --connections 10000

Prints them as the connections come and go. Exit status 1 where a row stays in use, where there are more threads or files
than after the first tenth, or where memory grows by more than ``--limit`` MB after the first half.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from client import Address, complete, fetch
from leaving import leave_often
from servers import Started, gpt2xl_command, running

REPORTS = 10
PATIENCE = 60.0
"""Seconds in which a server whose clients have left has to be idle."""


COUNTS = (
    "gpt2xl_texts_submitted_total",
    'gpt2xl_texts_total{result="finished"}',
    'gpt2xl_texts_total{result="cancelled"}',
    "gpt2xl_new_tokens_total",
)


@dataclass(frozen=True)
class State:
    """What a server holds while it is idle."""

    rows: int
    threads: int
    files: int
    resident_mb: float


async def metric(address: Address, name: str) -> float:
    """A value of /metrics."""
    _, content = await fetch(address, "/metrics")
    lines = dict(line.rsplit(" ", 1) for line in content.decode().splitlines() if line[0] != "#")
    return float(lines[name])


def idle_state(server: Started) -> State:
    """The state once no text runs or waits; that of `PATIENCE` seconds later where some still do."""
    end = time.monotonic() + PATIENCE
    while True:
        texts = sum(
            int(asyncio.run(metric(server.address, name)))
            for name in ("gpt2xl_rows_in_use", "gpt2xl_queue")
        )
        if not texts or time.monotonic() > end:
            break
        time.sleep(0.1)
    time.sleep(0.5)  # connections that are being closed
    return State(texts, server.threads, server.files, server.resident_mb)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--limit", type=float, default=4.0)
    parser.add_argument("--threads", type=int, default=0, help="0 takes all cores")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, seen, states = random.Random(asked.seed), Counter[str](), list[State]()
    options = ("--prefix-cache", "16", "--threads", str(asked.threads))
    with running(gpt2xl_command(asked.bundle, *options)) as server:
        count = 0
        for report in range(REPORTS):
            more = asked.connections * (report + 1) // REPORTS - count
            seen += asyncio.run(leave_often(server.address, more, asked.clients, rng))
            count += more
            states.append(idle_state(server))
            print(f"{count} connections: {states[-1]}", flush=True)
        answer = asyncio.run(complete(server.address, {"prompt": "Once upon a", "temperature": 0}))
        counts = {each: asyncio.run(metric(server.address, each)) for each in COUNTS}
    print(dict(seen))
    print(counts)
    print(f"a text afterwards: {answer['choices'][0]['text']!r}")
    first, middle, last = states[0], states[REPORTS // 2 - 1], states[-1]
    is_clean = (
        last.rows == 0
        and last.threads <= first.threads
        and last.files <= first.files
        and last.resident_mb - middle.resident_mb <= asked.limit
    )
    sys.exit(0 if is_clean else 1)


if __name__ == "__main__":
    main()
