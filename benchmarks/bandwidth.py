"""The memory bandwidth of this machine: numpy's max over int64s, a part for each thread.

    python benchmarks/bandwidth.py --threads 2

The maximum is the reduction that numpy vectorizes best. Prints the best of several passes over 1 GiB, in bytes a
second. A decode step cannot be shorter than the size of the weights divided by this rate.
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np


def read_rate(threads: int, size: int = 1 << 30, passes: int = 5) -> float:
    """Bytes a second."""
    parts = np.array_split(np.ones(size // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as pool:
        return max(size / _seconds(pool, parts) for _ in range(passes))


def _seconds(pool: ThreadPoolExecutor, parts: list[np.ndarray]) -> float:
    start = time.perf_counter()
    list(pool.map(np.max, parts))
    return time.perf_counter() - start


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure how fast memory is read.")
    parser.add_argument("--threads", type=int, default=2)
    print(read_rate(parser.parse_args().threads))
