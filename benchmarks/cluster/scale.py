"""Simulates `gpt2xl batch --ray` on many machines: time, efficiency, and what limits it.

Every machine fetches the bundle from one store, loads it and takes parts from one driver, which serves them one after the
other. Machines die at random; what they were computing is computed again. Constants are arguments; docs/scale.md says
where their defaults come from.

    python benchmarks/cluster/scale.py --machines 1 100 10000
"""

import argparse
import heapq
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Constants:
    """Seconds, bytes and counts of one job."""

    prompts: int
    new_tokens: int
    part_rows: int
    tokens_per_second: float
    """Of one machine."""
    bundle_bytes: float
    store_bytes_per_second: float
    """What the store gives to all machines together."""
    machine_bytes_per_second: float
    """What it gives to one of them."""
    load_seconds: float
    driver_seconds: float
    """For each part: to hand it out and to take its report."""
    spread: float
    """Relative standard deviation of the time of a part."""
    days_between_deaths: float
    """Of one machine."""
    restart_seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a simulated job has taken."""

    hours: float
    efficiency: float
    """Share of the machines' time in which they generate texts that are kept."""
    driver_load: float
    """Share of the time in which the driver is busy."""
    deaths: int
    fetch_minutes: float


def fetch_seconds(constants: Constants, machines: int) -> float:
    """Until all machines have the bundle, when they begin at once and share the store."""
    own = constants.bundle_bytes / constants.machine_bytes_per_second
    return max(own, constants.bundle_bytes * machines / constants.store_bytes_per_second)


def simulate(constants: Constants, machines: int, seed: int = 0) -> Outcome:
    """Run parts through machines, one event for each."""
    rng = random.Random(seed)
    waiting = -(-constants.prompts // constants.part_rows)
    part = constants.part_rows * constants.new_tokens / constants.tokens_per_second
    fetch = fetch_seconds(constants, machines)
    ready = fetch + constants.load_seconds
    death_rate = 1 / (constants.days_between_deaths * 86400)
    events = [(ready, machine, False) for machine in range(machines)]
    useful, driver_free, deaths, end = 0.0, 0.0, 0, 0.0
    first = min(machines, waiting)
    events = events[:first]
    heapq.heapify(events)
    while events:
        now, machine, has_report = heapq.heappop(events)
        driver_free = max(driver_free, now) + constants.driver_seconds
        if has_report:
            end = driver_free
        if not waiting:
            continue
        waiting -= 1
        seconds = part * max(0.2, rng.gauss(1, constants.spread))
        if (life := rng.expovariate(death_rate)) < seconds:
            deaths += 1
            waiting += 1
            again = driver_free + life + constants.restart_seconds + constants.load_seconds
            heapq.heappush(events, (again, machine, False))
        else:
            useful += seconds
            heapq.heappush(events, (driver_free + seconds, machine, True))
    parts = -(-constants.prompts // constants.part_rows)
    busy = (parts + deaths) * constants.driver_seconds / end
    return Outcome(end / 3600, useful / (end * machines), busy, deaths, fetch / 60)


def main() -> None:
    """Print a line for each number of machines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 100, 10_000])
    defaults = {
        "prompts": 10**9, "new_tokens": 128, "part_rows": 256, "tokens_per_second": 130.0,
        "bundle_bytes": 1.6e9, "store_bytes_per_second": 10e9, "machine_bytes_per_second": 0.3e9,
        "load_seconds": 10.0, "driver_seconds": 0.001, "spread": 0.1, "days_between_deaths": 30.0,
        "restart_seconds": 300.0,
    }  # fmt: skip
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    values = vars(parser.parse_args())
    counts = values.pop("machines")
    constants = Constants(**values)
    print("machines      hours  efficiency  driver busy  deaths  fetch, min")
    for machines in counts:
        found = simulate(constants, machines)
        print(
            f"{machines:8} {found.hours:10.1f} {found.efficiency:10.1%} {found.driver_load:11.2%}"
            f" {found.deaths:7} {found.fetch_minutes:10.1f}"
        )


if __name__ == "__main__":
    main()
