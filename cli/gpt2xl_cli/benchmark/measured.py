"""What is known of a measured bundle: its files, its figures over all rounds, and what has to be said of them."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, log10
from pathlib import Path

from gpt2xl.bundle.bundle import Bundle, open_bundle
from gpt2xl.bundle.manifest import Figures as Parity
from gpt2xl.speed import Quantity, Speed, label
from gpt2xl_cli.reporting.verdicts import exported_precision

DIGITS = 3  # significant ones, at most


@dataclass(frozen=True)
class Figure:
    """One quantity, measured once a round."""

    name: Quantity
    size: int | None
    unit: str
    values: tuple[float, ...]

    @property
    def label(self) -> str:
        """Name and size, as of `Speed`."""
        return label(self.name, self.size)

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        """The smallest value."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The largest value."""
        return max(self.values)

    @property
    def higher_is_better(self) -> bool:
        """Whether it is a rate, not a time or memory."""
        return self.unit == "tokens/s"

    def text(self, value: float) -> str:
        """``value`` with as many digits as the spread leaves certain, at most three.

        >>> Figure("decode", 64, "tokens/s", (21.74, 21.71, 21.78)).text(21.74)
        '21.7'
        >>> Figure("prefill", 64, "tokens/s", (1980.2, 1702.5, 2254.3)).text(1980.2)
        '2,000'
        """
        largest = floor(log10(self.median)) if self.median > 0 else 0
        place, spread = largest - DIGITS + 1, self.high - self.low
        if spread > 0:
            place = min(largest, max(place, floor(log10(spread / 2))))
        return f"{round(value, -place):,.{max(0, -place)}f}"

    @property
    def median_text(self) -> str:
        """The median and its unit."""
        return f"{self.text(self.median)} {self.unit}"

    @property
    def range_text(self) -> str:
        """The smallest and the largest value; empty for a single round."""
        if len(self.values) == 1:
            return ""
        return f"{self.text(self.low)} to {self.text(self.high)}"


@dataclass
class Measured:
    """A bundle and its figures."""

    name: str
    """Short, and unlike that of the other bundles."""
    bundle: Bundle
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What the figures do not say by themselves."""

    def add(self, speed: Speed) -> Figure:
        """Take the value of one more round; the figure so far."""
        for number, figure in enumerate(self.figures):
            if (figure.name, figure.size) == (speed.name, speed.size):
                values = (*figure.values, speed.value)
                self.figures[number] = Figure(speed.name, speed.size, speed.unit, values)
                return self.figures[number]
        self.figures.append(Figure(speed.name, speed.size, speed.unit, (speed.value,)))
        return self.figures[-1]

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def figure(self, name: Quantity, size: int | None = None) -> Figure | None:
        """The figure of this name, and of this size if one is given."""
        found = (f for f in self.figures if f.name == name and size in (None, f.size))
        return next(found, None)

    def last(self, name: Quantity) -> Figure | None:
        """The figure of this name of the largest size."""
        return next((f for f in reversed(self.figures) if f.name == name), None)

    @property
    def folder(self) -> str:
        """Where the bundle is."""
        return str(self.bundle.folder)

    @property
    def precision(self) -> str:
        """In words: the precision of the export and what differs from its defaults."""
        return exported_precision(self.bundle.manifest)

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        folder = self.bundle.folder
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    @property
    def parity(self) -> Parity | None:
        """How far its logits are from its checkpoint's, on a page of text if the manifest has that; None without any."""
        manifest = self.bundle.manifest
        parity = manifest.parity if manifest else {}
        portable, engine = parity.get("portable", {}), parity.get("engine", {})
        # As in the verdict of an export: the page of the portable graph has the most positions.
        return portable.get("page") or engine.get("page") or engine.get("whole")


def opened(folders: Mapping[Path, str]) -> list[Measured]:
    """Bundles to measure.

    Args:
        folders: the name of the bundle in each folder; paths take the place of names that are not unique.

    Raises:
        BundleError: a folder is not a bundle.
    """
    counts = Counter(folders.values())
    return [
        Measured(name if counts[name] == 1 else str(path), open_bundle(path))
        for path, name in folders.items()
    ]


def shortened(names: Sequence[str], width: int) -> dict[str, str]:
    """Names of at most ``width`` characters, by the full ones: the ends of long ones, which tell bundles apart.

    >>> shortened(["my-own-gpt2-xl-int8", "demo"], 12)
    {'my-own-gpt2-xl-int8': '…pt2-xl-int8', 'demo': 'demo'}
    """
    short = {name: name if len(name) <= width else f"…{name[1 - width :]}" for name in names}
    return short if len({*short.values()}) == len(short) else {name: name for name in names}
