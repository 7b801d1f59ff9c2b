"""Measures what `gpt2xl batch --ray` costs beside generating: the constants of scale.py.

python benchmarks/cluster/constants.py BUNDLE
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import ray

from gpt2xl import batch_udf
from gpt2xl_ray.jobs.plan import Input, Part, parts_of
from gpt2xl_ray.jobs.pool import Pool
from gpt2xl_ray.jobs.worker import PartReport, Worker
from gpt2xl_ray.storage import Place

PARTS, LISTED = 2000, 10_000


class Nothing:
    """An actor that computes nothing."""

    def begin(self) -> None:
        """Be ready."""

    def run(self, part: Part) -> PartReport:
        """Report at once."""
        return PartReport(part, 256, 0, 256 * 128)


def driver_seconds() -> float:
    """Of the driver, for each part, with two actors that do nothing."""
    actor = ray.remote(Nothing).options(num_cpus=1)
    parts = [Part(number, "a file", number, number + 1) for number in range(PARTS)]
    with Pool(lambda: actor.remote(), 2, lambda: 2) as pool:
        reports = pool.reports(parts)
        while next(reports) is None:
            pass
        start = time.perf_counter()
        done = sum(report is not None for report in reports)
        return (time.perf_counter() - start) / done


def plan_figures() -> tuple[float, float]:
    """Seconds and bytes of a part in the plan."""
    given = Input(Place.of("."), "parquet", {"a file": 256 * 200_000})
    start = time.perf_counter()
    parts = parts_of(given, 256)
    seconds = (time.perf_counter() - start) / len(parts)
    one = parts[1000]
    size = sys.getsizeof(one) + sys.getsizeof(one.__dict__) + 3 * sys.getsizeof(one.start) + 8
    return seconds, size


def listing_seconds() -> float:
    """Of one of many files of a local folder."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(LISTED):
            Path(folder, f"part-{number:09d}.jsonl").touch()
        start = time.perf_counter()
        found = Place.of(folder).files()
        return (time.perf_counter() - start) / len(found)


def main() -> None:
    """Print the constants."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    bundle = parser.parse_args().bundle
    start = time.perf_counter()
    ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level="ERROR")
    print(f"a cluster of this machine: {time.perf_counter() - start:.1f} s")
    udf = batch_udf(str(Path(bundle).resolve()), greedy=True)
    start = time.perf_counter()
    worker = ray.remote(Worker).remote(udf, "json", Place.of("."), Place.of("."))
    ray.get(worker.begin.remote())
    print(f"an actor with its model: {time.perf_counter() - start:.1f} s")
    ray.kill(worker)
    print(f"driver, for each part: {1000 * driver_seconds():.2f} ms")
    seconds, size = plan_figures()
    print(f"plan, for each part: {1e6 * seconds:.1f} us, {size:.0f} bytes")
    print(f"listing, for each part: {1e6 * listing_seconds():.1f} us")


if __name__ == "__main__":
    main()
