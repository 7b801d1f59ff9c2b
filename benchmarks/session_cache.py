"""Seconds and memory of the first and the next starts of a bundle, with and without a saved session.

    python benchmarks/session_cache.py BUNDLE [--runs 4]

Each start is a process of its own; the page cache is as the runs before left it.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

START = """
import resource, sys, time
start = time.perf_counter()
import gpt2xl
imported = time.perf_counter()
model = gpt2xl.load(sys.argv[1], session_cache=sys.argv[2] or None)
loaded = time.perf_counter()
model.generate("The meaning of life is", greedy=True, max_new_tokens=1)
first = time.perf_counter()
speed = model.generate("Once", greedy=True, max_new_tokens=64).timings.tokens_per_second or 0
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(f"import {imported - start:.2f} s, load {loaded - imported:.2f} s,"
      f" first token after {first - start:.2f} s, {1000 / speed:.1f} ms a token, peak {peak:.0f} MB")
"""


def main() -> None:
    """Print a line for each start."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle")
    parser.add_argument("--runs", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for run in range(options.runs + 1):
            for name, cache in (("plain", ""), ("saved" if run else "saving", folder)):
                command = [sys.executable, "-c", START, options.bundle, cache]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                print(f"{name:6}", done.stdout, end="", flush=True)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        print(f"{size / 1e9:.2f} GB on disk")


if __name__ == "__main__":
    main()
