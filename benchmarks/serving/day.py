"""A day of a small server in fast motion: a request every 2 seconds, of all kinds, as fast as they are answered.

    python benchmarks/serving/day.py BUNDLE --requests 43200

Most ask for short texts, whole or as streams, with options of every kind; others leave before their texts end, score, embed, tokenize,
look at the server's state, or are no valid requests. After every tenth, the script prints what the server holds and how fast it was.
Exit status 1 where something was left, as in churn.py, where an answer was 5xx, or where a request was answered otherwise
than its kind should be.
"""

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from client import COMPLETIONS, Address, Body, StatusError, fetch
from equality import served
from hostile import NO_REQUESTS, answered
from leaving import leave
from servers import gpt2xl_command, running
from states import REPORTS, State, idle_state, is_clean, metrics
from texts import PROMPTS, random_request

MOST_TOKENS = 9
LONGEST_STAY = 0.1
"""Seconds after which a client that leaves has left."""
WRONG_BODIES: tuple[Body, ...] = (
    {"prompt": "a", "heat": 1},
    {"prompt": "a", "max_tokens": "many"},
    {"prompt": "a", "n": 10**9},
    {"prompt": "king " * 1200},
    {"prompt": "a", "model": "another"},
    {"prompt": "a", "regex": "("},
    {"prompt": []},
)
Kind = Callable[[Address, random.Random], Awaitable[str]]


async def text(address: Address, rng: random.Random) -> str:
    """A few short texts, whole or streamed."""
    await served(address, random_request(rng, MOST_TOKENS))
    return "200"


async def leaving(address: Address, rng: random.Random) -> str:
    """A client that leaves in the middle."""
    return await leave(address, rng, LONGEST_STAY)


async def scoring(address: Address, rng: random.Random) -> str:
    """Log-probabilities of a prompt."""
    body: Body = {"prompt": rng.choice(PROMPTS), "echo": True, "max_tokens": 0, "logprobs": 5}
    return await _status(address, COMPLETIONS, body)


async def embedding(address: Address, rng: random.Random) -> str:
    """Vectors of some texts."""
    texts = [rng.choice(PROMPTS) for _ in range(rng.choice((1, 1, 4)))]
    encoding = rng.choice(("float", "base64"))
    return await _status(address, "/v1/embeddings", {"input": texts, "encoding_format": encoding})


async def tokenizing(address: Address, rng: random.Random) -> str:
    """The ids of a text."""
    return await _status(address, "/tokenize", {"prompt": rng.choice(PROMPTS)})


async def looking(address: Address, rng: random.Random) -> str:
    """What monitors and pages ask for."""
    return await _status(address, rng.choice(("/health", "/metrics", "/v1/models", "/")))


async def wrong(address: Address, rng: random.Random) -> str:
    """A request that has to be refused."""
    if rng.random() < 0.5:
        return await _status(address, COMPLETIONS, rng.choice(WRONG_BODIES))
    content = rng.choice(list(NO_REQUESTS.values()))
    line = await answered(address, address.head("POST", COMPLETIONS, len(content)) + content)
    return line.split()[1] if line else "closed"


async def _status(address: Address, path: str, body: Body | None = None) -> str:
    return str((await fetch(address, path, body))[0])


KINDS: dict[Kind, int] = {
    text: 70, leaving: 6, scoring: 6, embedding: 5, tokenizing: 5, looking: 4, wrong: 4,
}  # fmt: skip
"""With their weights."""


async def part_of_day(
    address: Address, count: int, clients: int, rng: random.Random
) -> Counter[str]:
    """``count`` requests, ``clients`` of them at a time; how each kind was answered."""
    seen, left = Counter[str](), iter(range(count))

    async def client() -> None:
        for _ in left:
            (kind,) = rng.choices(list(KINDS), list(KINDS.values()))
            try:
                status = await kind(address, rng)
            except StatusError as error:
                status = str(error)
            except (OSError, asyncio.IncompleteReadError) as error:
                status = type(error).__name__
            seen[f"{kind.__name__}: {status}"] += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return seen


def is_expected(seen: str) -> bool:
    """Whether a kind may be answered so."""
    kind, _, status = seen.partition(": ")
    if kind == "leaving":
        return status.startswith("left") or status == "whole answer 200"
    return status[0] == "4" if kind == "wrong" else status == "200"


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--requests", type=int, default=43_200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--limit", type=float, default=4.0, help="MB; see churn.py")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng, seen, states, count = random.Random(asked.seed), Counter[str](), list[State](), 0
    with running(gpt2xl_command(asked.bundle, "--prefix-cache", "16")) as server:
        for report in range(REPORTS):
            more, start = asked.requests * (report + 1) // REPORTS - count, time.monotonic()
            seen += asyncio.run(part_of_day(server.address, more, asked.clients, rng))
            rate = more / (time.monotonic() - start)
            count += more
            states.append(idle_state(server))
            print(f"{count} requests: {states[-1]}, {rate:.0f} requests/s", flush=True)
        values = asyncio.run(metrics(server.address))
    for answer, times in sorted(seen.items()):
        print(f"{times:6d} {answer}{'' if is_expected(answer) else '  <- NOT EXPECTED'}")
    failures = sum(
        times for name, times in values.items() if 'status="5' in name and "_total" in name
    )
    print(f"{values['gpt2xl_new_tokens_total']:.0f} tokens, {failures:.0f} answers with 5xx")
    is_well = all(map(is_expected, seen)) and not failures and is_clean(states, asked.limit)
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
