"""Clients that leave at a random moment."""

import asyncio
import json
import random
import socket
import struct
from collections import Counter

from client import COMPLETIONS, Address
from texts import BEGINNING, PROMPTS

ABRUPT = struct.pack("ii", 1, 0)
"""SO_LINGER with which closing sends a reset."""


async def leave(address: Address, rng: random.Random, longest_seconds: float) -> str:
    """One connection; what the client saw before it left."""
    content = json.dumps(_body(rng)).encode()
    request = address.head("POST", COMPLETIONS, len(content)) + content
    sent = rng.randrange(len(request)) if rng.random() < 0.25 else len(request)
    try:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    except OSError:
        return "not connected"
    if rng.random() < 0.5:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)
    try:
        writer.write(request[:sent])
        async with asyncio.timeout(rng.random() * longest_seconds):
            await writer.drain()
            status = (await reader.read(12)).decode("latin-1")[9:]
            while await reader.read(1 << 16):
                pass
        return f"whole answer {status}"
    except TimeoutError:
        return "left" if sent == len(request) else "left before the request was whole"
    except OSError:
        return "reset by the server"
    finally:
        writer.close()


async def leave_often(
    address: Address, count: int, clients: int, rng: random.Random, longest_seconds: float = 0.5
) -> Counter[str]:
    """``count`` connections, ``clients`` of them at a time; what they saw."""
    seen, left = Counter[str](), iter(range(count))

    async def client() -> None:
        for _ in left:
            seen[await leave(address, rng, longest_seconds)] += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return seen


def _body(rng: random.Random) -> dict[str, object]:
    """A request for texts that would take a while."""
    prompt = rng.choice(PROMPTS) + BEGINNING * rng.choice((0, 0, 1, 5))
    return {
        "prompt": [prompt] * rng.choice((1, 1, 1, 3)),
        "n": rng.choice((1, 1, 2)),
        "max_tokens": rng.choice((1, 20, 400)),
        "seed": rng.randrange(2**32),
        "stream": rng.random() < 0.5,
        "echo": rng.random() < 0.2,
        "logprobs": rng.choice((None, None, 3)),
    }
