"""Adapter for the bundles of this project; the only file of the comparison that knows our library."""

import argparse
import time
from pathlib import Path

import measure

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.protocol import last_logits, open_best


def load(options: argparse.Namespace) -> measure.Generate:
    """The session that ``gpt2xl.load`` would open on the CPU."""
    session = open_best(open_bundle(Path(options.model)), "cpu", options.threads)
    cache = session.new_cache(options.rows, capacity=options.prompt + options.new)

    def generate(ids: measure.Ids, new: int) -> list[float]:
        start = time.perf_counter()
        cache.truncate(0)  # its memory stays from text to text, as in `gpt2xl.Model`
        seconds: list[float] = []
        while len(seconds) < new:
            ids = last_logits(session, ids, cache).argmax(-1)[:, None]
            seconds.append(time.perf_counter() - start)
        return seconds

    return generate


if __name__ == "__main__":
    measure.run("onnxruntime", load)
