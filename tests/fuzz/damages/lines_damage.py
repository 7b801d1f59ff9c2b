"""Damages of JSON lines: the input of a batch, and the file of an interrupted one."""

import json
from random import Random

from tests.fuzz.damages import json_damage
from tests.fuzz.damages.damage import Damaged

TEXTS = (
    "",
    "\n",
    "a\0b",
    "a" * 3000,
    "<|endoftext|>",
    "\U0001f600" * 20,
    json_damage.ESCAPES,
    "\u2028",
)


def line(rng: Random, content: bytes) -> Damaged:
    """One line, as JSON."""
    lines = content.rstrip(b"\n").split(b"\n")
    number = rng.randrange(len(lines))
    lines[number], what, *_ = rng.choice(json_damage.JSON)(rng, lines[number])
    return Damaged(b"\n".join(lines) + b"\n", f"line {number}: {what}")


def prompt(rng: Random, content: bytes) -> Damaged:
    lines = content.rstrip(b"\n").split(b"\n")
    number, new = rng.randrange(len(lines)), rng.choice(TEXTS)
    lines[number] = json.dumps(
        {"prompt": new} | rng.choice(({}, {"id": None}, {"x": [1e5]}))
    ).encode()
    return Damaged(b"\n".join(lines) + b"\n", f"line {number}: the prompt {new[:20]!r}")


def order(rng: Random, content: bytes) -> Damaged:
    lines = content.rstrip(b"\n").split(b"\n")
    number = rng.randrange(len(lines))
    what = rng.choice(("twice", "gone", "torn", "shuffled"))
    if what == "twice":
        lines.insert(number, lines[number])
    elif what == "gone":
        del lines[number]
    elif what == "torn":
        lines[-1] = lines[-1][: rng.randrange(len(lines[-1]))]
        return Damaged(b"\n".join(lines), "the last line torn")
    else:
        rng.shuffle(lines)
    return Damaged(b"\n".join(lines) + b"\n", f"line {number} {what}")


def ends(rng: Random, content: bytes) -> Damaged:
    """Changes that editors make: line ends, byte order marks, encodings."""
    spellings = {
        "a byte order mark": b"\xef\xbb\xbf" + content,
        "Windows's ends of lines": content.replace(b"\n", b"\r\n"),
        "no newline at the end": content.rstrip(b"\n"),
        "blank lines": b"\n" + content.replace(b"\n", b"\n\n", 1) + b" \n",
        "spaces around": b" " + content.replace(b"\n", b"\t\n"),
    }
    what = rng.choice(sorted(spellings))
    return Damaged(spellings[what], what, True)


LINES = (line, line, line, prompt, order)
INPUT = (*LINES, ends)


def row(rng: Random, content: bytes) -> Damaged:
    """Change the number of a finished row, and the values of the row."""
    lines = content.rstrip(b"\n").split(b"\n")
    number = rng.randrange(1, len(lines))
    values = json.loads(lines[number])
    key = rng.choice(("row", "row", *values))
    values[key] = rng.choice((*json_damage.VALUES, 0, 1, 2, 3, 99, "0", 0.0))
    lines[number] = json_damage.write(values)
    return Damaged(b"\n".join(lines) + b"\n", f"row {number}: {key} = {values[key]!r}"[:120])


PART = (*LINES, row, row, row)
