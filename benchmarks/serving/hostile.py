"""Clients that are slow, send too much, or send what is no request: each gets an answer or is cut off, others are served.

    python benchmarks/serving/hostile.py BUNDLE

Prints what each kind saw. Exit status 1 where an answer is not a 4xx, a connection is held, or the others are not served.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

from client import COMPLETIONS, Address, complete
from servers import gpt2xl_command, running

HEAD_SECONDS = 2.0
"""The server's --header-timeout here."""
SLACK = 10.0
MOST_BYTES = 100_000
"""The server's --max-body here."""
NO_REQUESTS: dict[str, bytes] = {
    "no UTF-8": b'{"prompt": "\xff\xfe"}',
    "half of a surrogate pair": b'{"prompt": "\\ud83d"}',
    "no JSON": b"prompt=Once",
    "a list": b"[1, 2]",
    "deep lists": b'{"prompt": ' + b"[" * 40_000 + b"]" * 40_000 + b"}",
    "a long number": b'{"max_tokens": ' + b"9" * 5_000 + b"}",
    "no number": b'{"temperature": NaN}',
    "a number beyond float": b'{"temperature": 1e999}',
    "a field twice": b'{"prompt": "a", "prompt": 5}',
    "nothing": b"",
}


async def answered(address: Address, request: bytes) -> str:
    """The first line of the answer; empty where the connection was closed without one."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(request)
        return (await asyncio.wait_for(reader.readline(), SLACK)).decode("latin-1").strip()
    except ConnectionError:
        return ""
    finally:
        writer.close()


async def trickle(address: Address, start: bytes) -> tuple[str, float]:
    """Send ``start``, then a byte now and then; the server's answer, and the seconds until it ended."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    begin = time.monotonic()

    async def send() -> None:
        writer.write(start)
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(HEAD_SECONDS / 10)

    sending = asyncio.create_task(send())
    try:
        line = await asyncio.wait_for(reader.readline(), 2 * HEAD_SECONDS + SLACK)
        return line.decode("latin-1").strip(), time.monotonic() - begin
    except ConnectionError:
        return "", time.monotonic() - begin
    finally:
        sending.cancel()
        await asyncio.wait((sending,))
        writer.close()


async def slow_clients(address: Address, count: int) -> bool:
    """Slow heads and slow bodies, while others ask for texts; whether all is well."""
    head = f"POST {COMPLETIONS} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ".encode()
    starts = {"slow heads": head, "slow bodies": address.head("POST", COMPLETIONS, 1000)}
    is_well = True
    for name, start in starts.items():
        tasks = [asyncio.create_task(trickle(address, start)) for _ in range(count)]
        begin = time.monotonic()
        await complete(address, {"prompt": "Once upon a", "max_tokens": 5})
        served = time.monotonic() - begin
        found = await asyncio.gather(*tasks)
        longest = max(seconds for _, seconds in found)
        lines = {line for line, _ in found}
        print(
            f"{count} {name}: {lines}, cut off after at most {longest:.1f} s, another client {served:.2f} s"
        )
        is_well &= longest < HEAD_SECONDS + SLACK and all(_is_refusal(line) for line in lines)
    return is_well


async def bad_requests(address: Address) -> bool:
    """Bodies that are too large or no requests; whether all are refused."""
    large = address.head("POST", COMPLETIONS, MOST_BYTES + 1)
    chunk = b"8000\r\n" + b"a" * 0x8000 + b"\r\n"
    chunked = large[: large.index(b"Content-Length")] + b"Transfer-Encoding: chunked\r\n\r\n"
    requests = {
        "a body announced as too large": large,
        "a body that grows too large": chunked + chunk * 5,
        "a head that is too large": large[:-2] + b"X-Large: " + b"a" * 200_000 + b"\r\n\r\n",
        "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    } | {
        name: address.head("POST", COMPLETIONS, len(body)) + body
        for name, body in NO_REQUESTS.items()
    }
    is_well = True
    for name, request in requests.items():
        line = await answered(address, request)
        print(f"{name}: {line or 'closed'}")
        is_well &= _is_refusal(line)
    return is_well


def _is_refusal(line: str) -> bool:
    return not line or line.split()[1].startswith("4")


async def all_kinds(address: Address, count: int) -> bool:
    """Whether the server stands all of them."""
    return await bad_requests(address) & await slow_clients(address, count)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--clients", type=int, default=200)
    asked = parser.parse_args()
    limits = ("--header-timeout", str(HEAD_SECONDS), "--max-body", str(MOST_BYTES))
    with running(gpt2xl_command(asked.bundle, *limits)) as server:
        is_well = asyncio.run(all_kinds(server.address, asked.clients))
    sys.exit(0 if is_well else 1)


if __name__ == "__main__":
    main()
