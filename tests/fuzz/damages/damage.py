"""The result of a damage, and damages that do not know the format."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple


class Damaged(NamedTuple):
    """The new content of a file."""

    content: bytes
    what: str
    """What was changed, in a few words."""
    neutral: bool = False
    """Whether the content means the same, so that the result has to be the same."""
    fatal: bool = False
    """Whether no text generated from it can be right."""


Damage = Callable[[Random, bytes], Damaged]

RUNS = (b"\x00", b"\xff", b"\x80", b"\n", b"\x1b]0;title\x07", b"\xe2\x80\xae")


def flip_bits(rng: Random, content: bytes) -> Damaged:
    changed = bytearray(content)
    places = [rng.randrange(len(changed)) for _ in range(rng.choice((1, 1, 2, 8)))]
    for at in places:
        changed[at] ^= 1 << rng.randrange(8)
    return Damaged(bytes(changed), f"bits flipped at {places}")


def set_bytes(rng: Random, content: bytes) -> Damaged:
    at, count = rng.randrange(len(content)), rng.choice((1, 2, 4, 8, 64, 4096))
    run = (rng.choice(RUNS) * count)[: max(0, min(count, len(content) - at))]
    return Damaged(
        content[:at] + run + content[at + len(run) :], f"{len(run)} times {run[:1]!r} at {at}"
    )


def random_bytes(rng: Random, content: bytes) -> Damaged:
    at, count = rng.randrange(len(content)), rng.choice((1, 2, 4, 16, 256))
    run = rng.randbytes(min(count, len(content) - at))
    return Damaged(content[:at] + run + content[at + len(run) :], f"{len(run)} random at {at}")


def insert(rng: Random, content: bytes) -> Damaged:
    at, run = rng.randrange(len(content) + 1), rng.choice(RUNS) * rng.choice((1, 1, 3, 100, 10_000))
    return Damaged(content[:at] + run + content[at:], f"{len(run)} of {run[:1]!r} put in at {at}")


def cut(rng: Random, content: bytes) -> Damaged:
    size = rng.choice((0, 1, len(content) // 2, len(content) - 1, rng.randrange(len(content))))
    return Damaged(content[:size], f"cut after {size} bytes")


def drop(rng: Random, content: bytes) -> Damaged:
    at, count = rng.randrange(len(content)), rng.choice((1, 4, 100))
    return Damaged(content[:at] + content[at + count :], f"{count} bytes left out at {at}")


def repeat(rng: Random, content: bytes) -> Damaged:
    at, count = rng.randrange(len(content)), rng.choice((1, 8, 200, len(content)))
    times = rng.choice((1, 1, 2, 50))
    return Damaged(
        content[:at] + content[at : at + count] * times + content[at:],
        f"{count} bytes at {at} {times} times more",
    )


def swap(rng: Random, content: bytes) -> Damaged:
    count = rng.choice((1, 8, 64))
    first, second = sorted(rng.randrange(len(content)) for _ in range(2))
    second = max(second, min(first + count, len(content)))
    a, b = content[first : first + count], content[second : second + count]
    return Damaged(
        content[:first] + b + content[first + count : second] + a + content[second + count :],
        f"{count} bytes at {first} and {second} swapped",
    )


def other_content(rng: Random, content: bytes) -> Damaged:
    whats = {
        "a pointer of git LFS": b"version https://git-lfs.github.com/spec/v1\n"
        b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n",
        "a web page": b"<!DOCTYPE html>\n<html><body>404</body></html>\n",
        "a megabyte of 0xff": b"\xff" * 1_000_000 + b"\x01",
        "zeros": bytes(len(content)),
        "random bytes": rng.randbytes(len(content)),
        "UTF-16": content.decode("latin-1").encode("utf-16"),
        "a zip": b"PK\x05\x06" + bytes(18),
        "a pickle": b"\x80\x04\x95\x0f\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins\x94.",
    }
    what = rng.choice(sorted(whats))
    return Damaged(whats[what], f"replaced by {what}")


BYTES: tuple[Damage, ...] = (
    flip_bits, flip_bits, set_bytes, random_bytes, insert, cut, drop, repeat, swap, other_content,
)  # fmt: skip
