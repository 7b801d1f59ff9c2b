"""How an input is cut into parts. The cuts are kept with the output, so that a later run has the same parts."""

from dataclasses import dataclass

import pyarrow.parquet as pq
from pyarrow import fs

from gpt2xl import RequestError
from gpt2xl_ray.storage import Place, storage_errors

ENDINGS = {".jsonl": "json", ".ndjson": "json", ".json": "json", ".parquet": "parquet"}
MOST_ROWS, LEAST_ROWS = 256, 16
PARTS_OF_AN_ACTOR = 8
"""So that the last actor to finish keeps the others waiting for an eighth of the time at most."""
SAMPLE_BYTES = 1 << 16


@dataclass(frozen=True)
class Part:
    """A range of one file of the input, and a file of the output."""

    number: int
    file: str
    """Within the input's file system."""
    start: int
    """A byte: the part has the lines that begin at it or later, but before ``stop``. Of Parquet, a row."""
    stop: int

    @property
    def size(self) -> int:
        """In bytes or rows."""
        return self.stop - self.start


@dataclass(frozen=True)
class Input:
    """The files of an input."""

    place: Place
    kind: str
    """"json" or "parquet"."""
    sizes: dict[str, int]
    """By file: bytes of JSON lines, or rows of Parquet."""

    @property
    def unit(self) -> str:
        """What sizes count."""
        return "B" if self.kind == "json" else "row"

    @property
    def total(self) -> int:
        """The size of all."""
        return sum(self.sizes.values())


def read_input(source: str) -> Input:
    """Find the files of an input and their sizes.

    Raises:
        RequestError: there are none, or they are of no format, or of two.
    """
    place = Place.of(source)
    info = place.info()
    if info.type == fs.FileType.NotFound:
        raise RequestError(f"there is no '{place.name}'.")
    found = [info] if info.is_file else place.files()
    files = {str(item.path): item for item in found if item.base_name[:1] not in ("_", ".")}
    kinds = {_kind(path) for path in files}
    if len(kinds) != 1 or "" in kinds:
        raise RequestError(
            f"'{place.name}' has to be a file, or a folder of files, that end in {', '.join(ENDINGS)}; of one format."
        )
    kind = kinds.pop()
    if kind == "json":
        return Input(place, kind, {path: item.size for path, item in files.items()})
    return Input(place, kind, {path: _parquet_rows(place, path) for path in files})


def parts_of(given: Input, part_size: int) -> list[Part]:
    """The parts, in the order of the input."""
    ranges = [
        (file, start, min(start + part_size, size))
        for file, size in given.sizes.items()
        for start in range(0, size, part_size)
    ]
    return [Part(number, *found) for number, found in enumerate(ranges)]


def part_size(given: Input, part_rows: int | None, actors: int) -> int:
    """The size of a part of about ``part_rows`` rows; of None, as many as keep ``actors`` actors busy.

    >>> part_size(Input(Place.of("."), "parquet", {"a": 1000}), None, 4)
    32
    """
    row = 1.0 if given.kind == "parquet" else _line_bytes(given)
    if part_rows is None:
        rows = given.total / row / (actors * PARTS_OF_AN_ACTOR)
        part_rows = int(max(LEAST_ROWS, min(MOST_ROWS, rows + 1)))
    return max(1, round(part_rows * row))


def _kind(path: str) -> str:
    return next((kind for ending, kind in ENDINGS.items() if path.lower().endswith(ending)), "")


def _parquet_rows(place: Place, path: str) -> int:
    with storage_errors(path), place.filesystem.open_input_file(path) as file:
        return int(pq.ParquetFile(file).metadata.num_rows)


def _line_bytes(given: Input) -> float:
    """The mean length of the first lines."""
    path = next(iter(given.sizes))
    with storage_errors(path), given.place.filesystem.open_input_file(path) as file:
        sample = bytes(file.read(SAMPLE_BYTES))
    return max(1.0, len(sample) / max(1, sample.count(b"\n")))
