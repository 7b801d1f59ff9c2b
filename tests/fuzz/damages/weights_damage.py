"""Damages of safetensors files and of raw weights."""

import json
import struct
from random import Random
from typing import Any

import numpy as np
from tests.fuzz.damages import json_damage
from tests.fuzz.damages.damage import Damaged

TYPES = ("F32", "F16", "BF16", "F64", "I64", "I8", "BOOL", "F8_E4M3", "NO", "", 5, None)
OFFSETS = (0, 1, -1, 4, 2**31, 2**63, 2**64, "0", None, 0.5)


def _split(content: bytes) -> tuple[dict[str, Any], bytes]:
    (size,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + size]), content[8 + size :]


def _joined(header: bytes, body: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def length(rng: Random, content: bytes) -> Damaged:
    size = rng.choice(
        (0, 1, 8, len(content) - 8, len(content), 100_000_000, 2**31, 2**63, 2**64 - 1)
    )
    return Damaged(struct.pack("<Q", size) + content[8:], f"header of {size} bytes")


def header(rng: Random, content: bytes) -> Damaged:
    old, body = _split(content)
    new, what, *_ = rng.choice(json_damage.JSON)(rng, json.dumps(old).encode())
    return Damaged(_joined(new, body), f"header: {what}")


def entry(rng: Random, content: bytes) -> Damaged:
    """Change name, shape, type or offset of a tensor, or remove it."""
    entries, body = _split(content)
    name = rng.choice([key for key in entries if key != "__metadata__"])
    tensor = entries[name]
    what = rng.choice(("dtype", "shape", "offset", "gone", "name", "as another", "prefix"))
    if what == "dtype":
        tensor["dtype"] = rng.choice(TYPES)
    elif what == "shape":
        shapes: tuple[Any, ...] = (
            [],
            [0],
            [2**32, 2**32],
            [-1],
            tensor["shape"][::-1],
            [1, *tensor["shape"]],
            [2**63],
            "x",
        )
        tensor["shape"] = rng.choice(shapes)
    elif what == "offset":
        tensor["data_offsets"][rng.randrange(2)] = rng.choice(OFFSETS)
    elif what == "gone":
        del entries[name]
    elif what == "as another":
        entries[name] = dict(rng.choice([v for k, v in entries.items() if k != "__metadata__"]))
    elif what == "prefix":
        entries = {rng.choice(("transformer.", "model.", "x")) + k: v for k, v in entries.items()}
    else:
        new = rng.choice(
            ("", "wte.weight", "lm_head.weight", "h.0.attn.bias", "x" * 10_000, json_damage.ESCAPES)
        )
        entries[new] = entries.pop(name)
    return Damaged(_joined(json.dumps(entries).encode(), body), f"{name}: {what} {tensor}"[:120])


def values(rng: Random, content: bytes, keep: int = 0) -> Damaged:
    """Put NaN, infinities or huge numbers into the last part of the file."""
    whole = len(content) // 4
    count = min(rng.choice((1, 16, 300, whole // 2, whole)), (len(content) - keep) // 4)
    number = rng.choice((np.nan, np.nan, np.inf, -np.inf, 3e38, 1e20, 0.0))
    run = np.full(count, number, np.float32).tobytes()
    fatal = bool(np.isnan(number)) and count > whole * 0.9
    return Damaged(content[: len(content) - len(run)] + run, f"the last {count} numbers {number}", fatal=fatal)  # fmt: skip


def numbers(rng: Random, content: bytes) -> Damaged:
    """As `values`, after a safetensors header."""
    return values(rng, content, len(content) - len(_split(content)[1]))


def same(rng: Random, content: bytes) -> Damaged:
    """Write another header that means the same."""
    entries, body = _split(content)
    names = [name for name in entries if name != "__metadata__"]
    rng.shuffle(names)
    extra = {
        "__metadata__": {"format": "pt", "note": rng.choice(("", "x" * 5000, json_damage.ESCAPES))}
    }
    text = json.dumps(extra | {name: entries[name] for name in names})
    padded = text + " " * (-len(text.encode()) % 8)
    return Damaged(_joined(padded.encode(), body), "header in another order", True)


SAFETENSORS = (length, header, header, entry, entry, entry, numbers, same)
RAW = (values, values, values)
