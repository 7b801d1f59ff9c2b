"""Damages of JSON: wrong values anywhere, missing or duplicate keys, texts that are hard to parse."""

import json
from random import Random
from typing import Any

from tests.fuzz.damages.damage import Damaged

Place = list[Any]  # keys and positions from the top
RAW = "@raw@"  # what stands after it in a string is written as it is, without quotes

ESCAPES = "\x1b]0;title\x07\x1b[31mred\x1b[0m\r\x9b2J\u202egnp"
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 255, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63, 2**64,
    10**400, -(2**63), 0.0, 0.5, -0.0, 1.0, 1e-320, 1e308, -1e308,
    float("nan"), float("inf"), -float("inf"), RAW + "1e999", RAW + "-1e999", RAW + "9" * 5000,
    "", " ", "a", "0", "1", "true", "NaN", "é", "日本", "\U0001f600", RAW + '"\\ud800"', "\0",
    ESCAPES, "two\nlines", "a" * 300, "a" * 100_000, "../../x", "/etc/hostname", "/dev/zero", ".",
    "a/" * 3000, "x" * 5000 + ".onnx", "nul\0in.name", "{}", "%s%s%n", "<|endoftext|>",
    [], {}, [[]], [None], [{}], [1, "a", None], {"": ""}, {"a": {"b": []}}, [0] * 5000,
    RAW + "[" * 100_000, RAW + "[" * 100_000 + "]" * 100_000, RAW + '{"a":' * 50_000,
    RAW + "[" * 500 + "]" * 500, RAW + '{"a":' * 200 + "1" + "}" * 200,
)  # fmt: skip


def read(content: bytes) -> Any:
    return json.loads(content)


def write(value: Any, indent: int | None = None) -> bytes:
    """JSON of ``value``; values marked as raw are inserted as they are."""
    raw: list[str] = []

    def marked(item: Any) -> Any:
        if isinstance(item, str) and item.startswith(RAW):
            raw.append(item[len(RAW) :])
            return f"{RAW}{len(raw) - 1}"
        if isinstance(item, list):
            return [marked(x) for x in item]
        if isinstance(item, dict):
            return {k: marked(v) for k, v in item.items()}
        return item

    text = json.dumps(marked(value), indent=indent)
    for number, inner in enumerate(raw):
        text = text.replace(f'"{RAW}{number}"', inner)
    return text.encode("utf-8", "surrogatepass")


def pick(rng: Random, value: Any) -> Place:
    """A random place in ``value``; places near the top are more probable."""
    place: Place = []
    while isinstance(value, dict | list) and value and (not place or rng.random() < 0.65):
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        place.append(key)
        value = value[key]
    return place


def at(value: Any, place: Place) -> Any:
    for key in place:
        value = value[key]
    return value


def near(rng: Random, old: Any) -> Any:
    """A value that differs little from ``old``."""
    if isinstance(old, bool) or old is None:
        return rng.choice((not old, str(old), int(bool(old))))
    if isinstance(old, int | float):
        return rng.choice(
            (
                old + 1,
                old - 1,
                -old,
                old * 2,
                old * 1000,
                float(f"{old:.3e}") if abs(old) < 10**300 else 0.5,
                str(old),
                [old],
            )
        )
    if isinstance(old, str):
        return rng.choice(
            (old + " ", old[:-1], old.upper(), old * 2, ESCAPES + old, [old], old + "\0")
        )
    if isinstance(old, list):
        twice = [*old, *old]
        return rng.choice(
            (old[:-1], old[1:], twice, old[::-1], [*old, None], dict.fromkeys("ab", old))
        )
    return rng.choice((list(old), list(old.items()), {**old, "x": old}, list(old.values())))


def replace(rng: Random, content: bytes) -> Damaged:
    value = read(content)
    places = [pick(rng, value) for _ in range(rng.choice((1, 1, 1, 1, 2)))]
    whats = []
    for place in places:
        try:
            parent, old = at(value, place[:-1]), at(value, place)
        except (KeyError, IndexError, TypeError):
            continue  # gone with the first
        if isinstance(parent, str):  # a letter of what the first has put there
            continue
        new = rng.choice(VALUES) if rng.random() < 0.7 else near(rng, old)
        if not place:
            return Damaged(write(new), f"all replaced by {repr(new)[:60]}")
        parent[place[-1]] = new
        whats.append(f"{'/'.join(map(str, place))[:80]} = {repr(new)[:60]}")
    return Damaged(write(value), "; ".join(whats))


def remove(rng: Random, content: bytes) -> Damaged:
    value = read(content)
    place = pick(rng, value)
    if not place:
        return Damaged(b"", "all removed")
    parent = at(value, place[:-1])
    del parent[place[-1]]
    return Damaged(write(value), f"{'/'.join(map(str, place))[:80]} removed")


def exchange(rng: Random, content: bytes) -> Damaged:
    """Copy the value of one place to another."""
    value = read(content)
    place, other = pick(rng, value), pick(rng, value)
    if not place or not other:
        return replace(rng, content)
    copied = json.loads(json.dumps(at(value, other)))
    at(value, place[:-1])[place[-1]] = copied
    return Damaged(write(value), f"{place} as {other}"[:120])


def rename(rng: Random, content: bytes) -> Damaged:
    value = read(content)
    place = pick(rng, value)
    parent = at(value, place[:-1]) if place else None
    if not isinstance(parent, dict):
        return replace(rng, content)
    new = rng.choice((f"{place[-1]} ", str(place[-1]).upper(), ESCAPES, "", "x" * 10_000, "../x"))
    parent[new] = parent.pop(place[-1])
    return Damaged(write(value), f"{'/'.join(map(str, place))[:80]} renamed {new[:20]!r}")


def text(rng: Random, content: bytes) -> Damaged:
    """The same content in another form, or in one that is not JSON."""
    value = read(content)
    plain = write(value).decode()
    inner = plain.strip()[1:-1]
    spellings: dict[str, tuple[str | bytes, bool]] = {
        "indented": (json.dumps(value, indent=7), True),
        "not escaped": (json.dumps(value, ensure_ascii=False), True),
        "a newline after it": (plain + "\n\n", True),
        "a byte order mark": (b"\xef\xbb\xbf" + plain.encode(), False),
        "a comment": ("// comment\n" + plain, False),
        "a comma too many": (plain[:-1] + "," + plain[-1:], False),
        "two values": (plain + plain, False),
        "every key twice": ("{" + inner + ", " + inner + "}", False),
        "in UTF-16": (plain.encode("utf-16"), False),
        "in Latin-1": (
            json.dumps([value, "é"], ensure_ascii=False).encode("latin-1", "replace"),
            False,
        ),
        "in a list": (f"[{plain}]", False),
        "deep in lists": ("[" * 100_000 + plain, False),
        "with 'single quotes'": (plain.replace('"', "'"), False),
        "with a lone surrogate": (b'{"a": "\xed\xa0\x80", ' + inner.encode() + b"}", False),
    }
    what = rng.choice(sorted(spellings))
    spelled, neutral = spellings[what]
    return Damaged(spelled if isinstance(spelled, bytes) else spelled.encode(), what, neutral)


def reorder(rng: Random, content: bytes) -> Damaged:
    value = read(content)
    if not isinstance(value, dict):
        return text(rng, content)
    keys = list(value)
    rng.shuffle(keys)
    return Damaged(write({key: value[key] for key in keys}), "keys in another order", True)


JSON = (replace, replace, replace, replace, remove, exchange, rename, text, reorder)
