"""Seconds and memory of loading a bundle: weights packed in parallel, and one by one.

    python benchmarks/loading.py BUNDLE [BUNDLE ...] [--runs 5] [--cold]

Each load is a process of its own, and the ways take turns. `peak` is the process's peak memory, mapped files
included; `heap` is what is left of it once files are not counted. With --cold the weights are dropped from the page
cache before each load.
"""

import argparse
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

WAYS = {"as chosen": None, "parallel": 1 << 60, "one by one": 0}  # memory said to be left, in bytes
LOAD = """
import resource, sys, time
start = time.perf_counter()
import gpt2xl
import gpt2xl.startup.graph as graph
if sys.argv[2] != "None":
    graph.memory_left = lambda: int(sys.argv[2])
imported = time.perf_counter()
model = gpt2xl.load(sys.argv[1], provider="cpu", threads=int(sys.argv[3]))
loaded = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
model.generate("The meaning of life is", greedy=True, max_new_tokens=1)
first = time.perf_counter()
status = dict(line.split(":") for line in open("/proc/self/status"))
heap = int(status["RssAnon"].split()[0]) * 1024
print(loaded - imported, first - start, peak / 1e6, heap / 1e6)
"""
FIGURES = ("load, s", "first token, s", "peak, MB", "heap, MB")


def main() -> None:
    """Print the medians for each bundle and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    print("| bundle | packing | " + " | ".join(FIGURES) + " |")
    print("| --- " * (2 + len(FIGURES)) + "|")
    for bundle in options.bundles:
        found = defaultdict[str, list[list[float]]](list)
        for _ in range(options.runs):
            for way, memory in WAYS.items():
                if options.cold:
                    drop_from_page_cache(bundle)
                command = [sys.executable, "-c", LOAD, str(bundle), str(memory)]
                command.append(str(options.threads))
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found[way].append([float(word) for word in done.stdout.split()])
        for way, runs in found.items():
            medians = [statistics.median(column) for column in zip(*runs, strict=True)]
            print(f"| {bundle.name} | {way} | " + " | ".join(f"{m:.2f}" for m in medians) + " |")


def drop_from_page_cache(bundle: Path) -> None:
    """Ask the kernel to forget the files of ``bundle``, which have been written to the disk."""
    for path in filter(Path.is_file, bundle.rglob("*")):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    main()
