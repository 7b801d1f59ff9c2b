"""Compares `gpt2xl batch` in one process with `gpt2xl batch --ray`, in turn, and checks that both write the same bytes.

python benchmarks/cluster/overhead.py BUNDLE --rows 800 --rounds 2
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMPTS = ("Once upon a time", "The king said", "One day the fox", "In the forest")


def run(*arguments: object) -> tuple[float, dict[str, float]]:
    """Seconds of a command, and its summary."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "gpt2xl", "batch", *map(str, arguments), "--json", "--force"],
        check=True,
        capture_output=True,
        text=True,
    )
    return time.perf_counter() - start, json.loads(done.stdout)


def main() -> None:
    """Print the times of each round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = [
            json.dumps({"id": n, "prompt": f"{PROMPTS[n % 4]} {n}"}) for n in range(given.rows)
        ]
        (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
        common = (folder / "in.jsonl", "-m", given.bundle, "-s", 1, "-n", given.new_tokens)
        for _ in range(given.rounds):
            local = run(
                folder / "in.jsonl", folder / "out.jsonl", *common[1:], "--threads", given.cpus
            )
            cluster = run(
                folder / "in.jsonl", folder / "out", *common[1:], "--ray", "local",
                "--actor-cpus", given.cpus,
            )  # fmt: skip
            parts = b"".join(path.read_bytes() for path in sorted((folder / "out").glob("part-*")))
            same = parts == (folder / "out.jsonl").read_bytes()
            print(
                f"one process: {local[0]:.1f} s, {local[1]['tokens_per_second']:.0f} tokens/s;"
                f" Ray, one actor: {cluster[0]:.1f} s, {cluster[1]['tokens_per_second']:.0f} tokens/s;"
                f" same bytes: {same}",
                flush=True,
            )


if __name__ == "__main__":
    main()
