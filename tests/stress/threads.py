"""Threads load bundles, generate and drop them for a while; every text is compared.

    python tests/stress/threads.py BUNDLE... --seconds 60 --threads 4

Exit status 1, or a crash, where anything is wrong.
"""

import argparse
import gc
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gpt2xl

PROMPTS = ("Once upon a time", "", "the king said to the old woman that he would go " * 40)
OPTIONS: tuple[dict[str, Any], ...] = (
    {"greedy": True}, {"seed": 1}, {"seed": 2, "top_k": 0}, {"seed": 3, "temperature": 1.3},
)  # fmt: skip


def text(model: gpt2xl.Model, prompt: str, options: dict[str, Any]) -> str:
    """Of 24 tokens, or what the context has room for."""
    return model.generate(prompt, max_new_tokens=24, **options).text


def worker(bundles: list[Path], expected: dict[Any, str], seed: int, end: float) -> Counter[str]:
    """Load, generate and drop until ``end``; returns what was done and what was wrong."""
    rng, done, held = random.Random(seed), Counter[str](), list[tuple[Path, gpt2xl.Model]]()
    while time.monotonic() < end:
        if len(held) < 2 or rng.random() < 0.2:
            folder = rng.choice(bundles)
            held.append((folder, gpt2xl.load(folder, threads=1)))
            done["loads"] += 1
        folder, model = rng.choice(held)
        prompt, options = rng.choice(PROMPTS), rng.choice(OPTIONS)
        done["texts"] += 1
        done["wrong"] += text(model, prompt, options) != expected[folder, prompt, str(options)]
        if len(held) > 3:
            del model
            held.pop(rng.randrange(len(held)))
            done["drops"] += 1
            gc.collect()
    return done


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--threads", type=int, default=4)
    asked = parser.parse_args()
    expected = {}
    for folder in asked.bundles:
        model = gpt2xl.load(folder, threads=1)
        for prompt in PROMPTS:
            for options in OPTIONS:
                expected[folder, prompt, str(options)] = text(model, prompt, options)
    end = time.monotonic() + asked.seconds
    with ThreadPoolExecutor(asked.threads) as pool:
        workers = [
            pool.submit(worker, asked.bundles, expected, seed, end) for seed in range(asked.threads)
        ]
        total = sum((future.result() for future in workers), Counter())
    print(", ".join(f"{total[what]} {what}" for what in ("loads", "texts", "drops", "wrong")))
    raise SystemExit(bool(total["wrong"]))


if __name__ == "__main__":
    main()
