"""Adapter for gpt2xl bundles; the only file of the comparison that imports gpt2xl."""

import argparse
import sys
import time
from pathlib import Path

import measure

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.sessions.exactness import Exactness
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.options import LoadOptions


def load(options: argparse.Namespace) -> measure.Generate:
    """The graph that ``gpt2xl.load`` would take, on the CPU."""
    bundle = open_bundle(Path(options.model))
    session = open_session(bundle, LoadOptions(provider="cpu", threads=options.threads))
    exactness = Exactness(session, is_float32=bundle.is_float32)
    if options.rows > 1 and not exactness.may_share_rows:
        sys.exit(
            "texts of this bundle do not share steps: gpt2xl generates them one after the other."
        )
    cache = session.new_cache(options.rows, capacity=options.prompt + options.new)

    def generate(ids: measure.Ids, new: int) -> list[float]:
        start = time.perf_counter()
        cache.truncate(0)  # its memory stays from text to text, as in `gpt2xl.Model`
        seconds: list[float] = []
        while len(seconds) < new:
            ids = session.forward(ids, cache)[:, -1].argmax(-1)[:, None]
            seconds.append(time.perf_counter() - start)
        return seconds

    return generate


if __name__ == "__main__":
    measure.run("onnxruntime", load)
