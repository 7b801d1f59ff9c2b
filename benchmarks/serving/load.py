"""Throughput and latency of gpt2xl's server beside llama.cpp's, in the same minutes.

    python benchmarks/serving/load.py my-gpt2-xl --llama llama-server --gguf models/q8_0.gguf

In each round every server is started, measured in all cases and ended; the tables show medians over the rounds. All clients
stream greedy texts of ``--new`` tokens after prompts of ``--prompt`` random ids; none is like another, and a client asks for
its next text when one is complete. In the last case 4 clients stream while a prompt of ``--long`` ids arrives.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

from client import Address
from figures_of_load import Figures, medians, table
from servers import gpt2xl_command, llama_command, running
from timing import Text, prompts, timed_text

LONG_NEW = 16
"""Tokens after the long prompt."""
BESIDE_LONG = 4
Rounds = list[dict[str, Figures]]


class Sizes(TypedDict):
    """Of the texts."""

    prompt: int
    new: int
    long: int
    texts: int
    vocabulary: int


async def texts_of_clients(
    address: Address, clients: int, sizes: Sizes, seed: int
) -> list[list[Text]]:
    """The texts of each client, one after the other."""
    made = prompts(clients * sizes["texts"], sizes["prompt"], sizes["vocabulary"], seed)

    async def client(number: int) -> list[Text]:
        own = made[number::clients]
        return [await timed_text(address, ids, sizes["new"]) for ids in own]

    return await asyncio.gather(*map(client, range(clients)))


async def case(address: Address, clients: int, sizes: Sizes, seed: int) -> Figures:
    """So many clients."""
    found = await texts_of_clients(address, clients, sizes, seed)
    return Figures.of([text for texts in found for text in texts])


async def long_case(address: Address, sizes: Sizes, seed: int) -> Figures:
    """The gaps in other streams from the arrival of a long prompt to its first token, and the time to that."""
    short = prompts(BESIDE_LONG, sizes["prompt"], sizes["vocabulary"], seed)
    (long,) = prompts(1, sizes["long"], sizes["vocabulary"], seed + 1)
    begun = asyncio.Semaphore(0)
    streams = [
        asyncio.create_task(timed_text(address, ids, 4 * sizes["new"], begun.release))
        for ids in short
    ]
    for _ in short:
        await begun.acquire()
    text = await timed_text(address, long, LONG_NEW)
    others = await asyncio.gather(*streams)
    return Figures.of([text], others, within=(text.asked, text.times[0]))


async def measured(address: Address, counts: list[int], sizes: Sizes) -> dict[str, Figures]:
    """All cases."""
    await case(address, 2, sizes | {"texts": 1, "new": 8}, seed=0)  # warms up
    found = {
        _clients(count): await case(address, count, sizes, seed=100 * count) for count in counts
    }
    print(table({"so far": found}), file=sys.stderr, flush=True)
    found[f"a prompt of {sizes['long']} beside {BESIDE_LONG}"] = await long_case(address, sizes, 7)
    return found


def _clients(count: int) -> str:
    return "1 client" if count == 1 else f"{count} clients"


def main() -> None:
    """See the module."""
    asked = _parser().parse_args()
    rows, threads = max(*asked.clients, BESIDE_LONG + 1), str(asked.threads)
    command = gpt2xl_command(asked.bundle, "--rows", str(rows), "--threads", threads)
    commands = {f"gpt2xl {asked.bundle.name}": command}
    if asked.llama:
        llama = llama_command(asked.llama, asked.gguf, rows, asked.threads)
        commands[f"llama.cpp {asked.gguf.stem}"] = llama
    sizes = Sizes(
        prompt=asked.prompt, new=asked.new, long=asked.long, texts=asked.texts,
        vocabulary=asked.vocabulary,
    )  # fmt: skip
    rounds: dict[str, Rounds] = {name: [] for name in commands}
    for number in range(asked.rounds):
        for name, command in commands.items():
            with running(command) as server:
                found = asyncio.run(measured(server.address, asked.clients, sizes))
            rounds[name].append(found)
            print(f"round {number + 1}: {name} done", file=sys.stderr, flush=True)
    print(table({name: medians(each) for name, each in rounds.items()}))
    if asked.json:
        saved = {
            name: [{case: asdict(figures) for case, figures in each.items()} for each in found]
            for name, found in rounds.items()
        }
        asked.json.write_text(json.dumps(saved, indent=1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--llama", type=Path, help="llama.cpp's program llama-server")
    parser.add_argument("--gguf", type=Path, help="the same model for it")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--texts", type=int, default=2, help="of each client")
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--new", type=int, default=32)
    parser.add_argument("--long", type=int, default=900)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vocabulary", type=int, default=50257, help="ids are below this")
    parser.add_argument("--json", type=Path, help="saves the figures of every round")
    return parser


if __name__ == "__main__":
    main()
