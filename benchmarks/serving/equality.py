"""Texts served to many clients at once, compared with `Model.generate` of the same options and seed.

    python benchmarks/serving/equality.py BUNDLE... --texts 500 --clients 64

Exit status 1 where one differs.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from client import Address, complete, stream
from servers import gpt2xl_command, running
from texts import Wanted, random_requests

import gpt2xl


async def served(address: Address, wanted: Wanted) -> list[tuple[str, list[int]]]:
    """The text and the ids of each choice."""
    count = len(wanted.prompts) * wanted.n
    texts, ids = [""] * count, [list[int]() for _ in range(count)]
    if wanted.streams:
        async for chunk in stream(address, wanted.body):
            for choice in chunk["choices"]:
                texts[choice["index"]] += choice["text"]
                ids[choice["index"]] += choice.get("token_ids") or []
    else:
        for choice in (await complete(address, wanted.body))["choices"]:
            texts[choice["index"]] = choice["text"]
            ids[choice["index"]] = choice["token_ids"]
    return list(zip(texts, ids, strict=True))


async def all_served(
    address: Address, requests: list[Wanted], clients: int
) -> list[list[tuple[str, list[int]]]]:
    """The texts of all requests, ``clients`` of which are under way at a time."""
    free = asyncio.Semaphore(clients)

    async def one(wanted: Wanted) -> list[tuple[str, list[int]]]:
        async with free:
            return await served(address, wanted)

    return await asyncio.gather(*map(one, requests))


def compare(bundle: Path, requests: list[Wanted], clients: int, rows: int, threads: int) -> int:
    """Print a line on ``bundle``; the number of texts that differ."""
    limits = ("--rows", str(rows), "--queue", str(8 * clients), "--threads", str(threads))
    command = gpt2xl_command(bundle, *limits)
    start = time.monotonic()
    with running(command) as server:
        found = asyncio.run(all_served(server.address, requests, clients))
    seconds = time.monotonic() - start
    model = gpt2xl.load(bundle, threads=threads)
    texts = differing = 0
    for wanted, texts_found in zip(requests, found, strict=True):
        for number, (got, alone) in enumerate(
            zip(texts_found, wanted.expected(model), strict=True)
        ):
            texts += 1
            if got != alone:
                differing += 1
                print(f"{wanted.body} text {number}:\n  served {got}\n  alone  {alone}")
    print(
        f"{bundle.name}: {texts} texts of {len(requests)} requests, {clients} clients, {rows} rows,"
        f" {seconds:.0f} s: {differing} differ"
    )
    return differing


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--threads", type=int, default=0, help="0 takes all cores")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    requests = random_requests(asked.texts, asked.seed)
    counts = [
        compare(each, requests, asked.clients, asked.rows, asked.threads) for each in asked.bundles
    ]
    sys.exit(1 if any(counts) else 0)


if __name__ == "__main__":
    main()
