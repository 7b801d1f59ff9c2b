"""Connections that end at random moments: rows, threads, files and memory have to be as before.

    python benchmarks/serving/churn.py BUNDLE --connections 10000

Prints them as the connections come and go. Exit status 1 where a row stays in use, where there are more threads or files
than after the first tenth, or where memory grows by more than ``--limit`` MB after the first half.
"""

import argparse
import asyncio
import random
import sys
from collections import Counter
from pathlib import Path

from client import complete
from leaving import leave_often
from servers import gpt2xl_command, running
from states import REPORTS, State, idle_state, is_clean, metrics

COUNTS = (
    "gpt2xl_texts_submitted_total",
    'gpt2xl_texts_total{result="finished"}',
    'gpt2xl_texts_total{result="cancelled"}',
    "gpt2xl_new_tokens_total",
)


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
        values = asyncio.run(metrics(server.address))
    print(dict(seen))
    print({name: values[name] for name in COUNTS})
    print(f"a text afterwards: {answer['choices'][0]['text']!r}")
    sys.exit(0 if is_clean(states, asked.limit) else 1)


if __name__ == "__main__":
    main()
