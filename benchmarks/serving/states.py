"""What a server holds while it is idle, and whether that grows."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from client import Address, fetch
from servers import Started

REPORTS = 10
"""How many states a run sees."""
PATIENCE = 60.0
"""Seconds in which a server whose clients have left has to be idle."""


@dataclass(frozen=True)
class State:
    """What a server holds."""

    rows: int
    threads: int
    files: int
    resident_mb: float

    def __str__(self) -> str:
        return (
            f"{self.rows} rows in use, {self.threads} threads, {self.files} open files,"
            f" {self.resident_mb:.1f} MB resident"
        )


async def metrics(address: Address) -> dict[str, float]:
    """The values of /metrics by their names and labels."""
    _, content = await fetch(address, "/metrics")
    lines = [line.rsplit(" ", 1) for line in content.decode().splitlines() if line[0] != "#"]
    return {name: float(value) for name, value in lines}


def idle_state(server: Started) -> State:
    """The state once no text runs or waits; that of `PATIENCE` seconds later where some still do."""
    end = time.monotonic() + PATIENCE
    while True:
        values = asyncio.run(metrics(server.address))
        texts = int(values["gpt2xl_rows_in_use"] + values["gpt2xl_queue"])
        if not texts or time.monotonic() > end:
            break
        time.sleep(0.1)
    time.sleep(0.5)  # connections that are being closed
    return State(texts, server.threads, server.files, server.resident_mb)


def is_clean(states: Sequence[State], limit_mb: float) -> bool:
    """Whether nothing was left: no row, no thread or file more than in the first state, and little memory.

    Args:
        states: in the order of time.
        limit_mb: what memory may grow by after the first half.
    """
    first, middle, last = states[0], states[len(states) // 2 - 1], states[-1]
    return (
        last.rows == 0
        and last.threads <= first.threads
        and last.files <= first.files
        and last.resident_mb - middle.resident_mb <= limit_mb
    )
