"""Adapter for the bundles of this project; the only file of the comparison that knows our library."""

import argparse
import time
from pathlib import Path

import measure

from gpt2xl.bundle import open_bundle
from gpt2xl.session import last_logits, open_best


def load(options: argparse.Namespace) -> measure.Generate:
    """The graph that ``gpt2xl.load`` would take, on the CPU."""
    session = open_best(open_bundle(Path(options.model)), "cpu", options.threads)

    def generate(ids: measure.Ids, new: int) -> list[float]:
        start = time.perf_counter()
        cache = session.new_cache(len(ids), capacity=ids.shape[1] + new)
        seconds: list[float] = []
        while len(seconds) < new:
            ids = last_logits(session, ids, cache).argmax(-1)[:, None]
            seconds.append(time.perf_counter() - start)
        return seconds

    return generate


if __name__ == "__main__":
    measure.run("onnxruntime", load)
