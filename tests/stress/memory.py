"""Many tokens with mixed options on one model: memory has to stay flat.

    python tests/stress/memory.py BUNDLE --tokens 200000

Prints resident memory as tokens are made. Exit status 1 where the second half of the run takes more than
``--limit`` MB on top of what the first half took at most.
"""

import argparse
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gpt2xl

PROMPTS = ("Once upon a time", "", "The king said to his daughter", "and the wolf " * 60)
REPORTS = 20


def resident_mb() -> float:
    """Resident memory of this process."""
    fields = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


def options(rng: random.Random) -> dict[str, Any]:
    """Of one text."""
    return {
        "max_new_tokens": rng.choice((1, 20, 200, 400)),
        "seed": rng.randrange(2**32),
        "top_k": rng.choice((0, 1, 40, 10**6)),
        "temperature": rng.choice((0, 0.3, 0.8, 1.5)),
    }


def some_text(model: gpt2xl.Model, folder: Path, rng: random.Random) -> int:
    """Generate a text or a batch, leave a stream early, or save a prompt; returns the number of tokens."""
    chosen, prompt = options(rng), rng.choice(PROMPTS)
    kind = rng.randrange(8)
    if kind == 0:
        prompts = rng.choices(PROMPTS, k=5)
        return sum(len(text.new_ids) for _, text in model.generate_batch(prompts, rows=4, **chosen))
    if kind == 1:
        stream = model.stream(prompt, **chosen)
        return sum(1 for _ in zip(range(10), stream, strict=False))
    if kind == 2:
        path = folder / "prompt"
        model.save_prompt("Once upon a time there was a king", path)
        model.load_prompt(path)
    return len(model.generate(prompt, prompt_lookup=bool(kind % 2), **chosen).new_ids)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--tokens", type=int, default=200_000)
    parser.add_argument("--limit", type=float, default=2.0)
    asked = parser.parse_args()
    rng, model = random.Random(0), gpt2xl.load(asked.bundle)
    made, due, sizes = 0, 0.0, list[float]()
    with TemporaryDirectory() as folder:
        while made < asked.tokens:
            made += some_text(model, Path(folder), rng)
            if made >= due:
                due = made + asked.tokens / REPORTS
                sizes.append(resident_mb())
                print(f"{made:8} tokens  {sizes[-1]:8.1f} MB", flush=True)
    half = len(sizes) // 2
    growth = max(sizes[half:]) - max(sizes[:half])
    print(f"largest of the second half less largest of the first: {growth:+.1f} MB")
    raise SystemExit(growth > asked.limit)


if __name__ == "__main__":
    main()
