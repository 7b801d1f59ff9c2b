"""Read minimal pairs: a good sentence and a bad one that differ in little."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gpt2xl import RequestError
from gpt2xl_eval.formats.json_lines import Line, Record, read_records


@dataclass(frozen=True)
class MinimalPair:
    """Two sentences of a phenomenon."""

    line: Line
    good: str
    bad: str
    phenomenon: str
    """Its UID; empty where the file names none."""


def read_blimp(path: Path) -> Iterator[MinimalPair]:
    """Read a file of JSON lines, or all *.jsonl of a folder in the order of their names.

    A line holds "sentence_good", "sentence_bad" and, if it is to be counted by phenomenon, "UID".

    Raises:
        RequestError: there is no such file, one is empty or not UTF-8, or a line is not of that form, or its sentences
            are empty or equal.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    if not files:
        raise RequestError(f"'{path}' holds no *.jsonl.")
    for file in files:
        yield from map(_pair, read_records(file))


def _pair(record: Record) -> MinimalPair:
    good, bad = record.text("sentence_good"), record.text("sentence_bad")
    if not good.strip() or not bad.strip():
        record.line.refuse("a sentence is empty.")
    if good == bad:
        record.line.refuse("both sentences are the same.")
    phenomenon = record.text("UID") if "UID" in record.content else ""
    return MinimalPair(record.line, good, bad, phenomenon)
