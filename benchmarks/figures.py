"""The figures of a comparison: saved as JSON, shown as Markdown tables or as a picture.

python benchmarks/figures.py FIGURES.json [--picture FILE.png]
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True, order=True)
class Case:
    """The task of a run."""

    rows: int
    prompt: int


@dataclass(frozen=True)
class Figure:
    """The measurements of one run in one process; rates are over all rows."""

    system: str
    ours: bool
    round: int
    prompt: int
    rows: int
    version: str
    load_s: float
    start_s: float
    """From the start of the process until two tokens after a first prompt."""
    prefill_tok_s: float
    decode_tok_s: float
    of_bandwidth: float
    """Bytes of weights times steps a second, over the rate at which memory was read just before."""
    peak_rss_mb: float

    @property
    def case(self) -> Case:
        """The task of the run."""
        return Case(self.rows, self.prompt)


COLUMNS = {
    "load_s": ("load s", ".2f"),
    "start_s": ("start s", ".2f"),
    "prefill_tok_s": ("prefill tok/s", ".1f"),
    "decode_tok_s": ("decode tok/s", ".1f"),
    "of_bandwidth": ("of bandwidth", ".0%"),
    "peak_rss_mb": ("peak MB", ".0f"),
}
RATIOS = [name for name in COLUMNS if name != "of_bandwidth"]
LOWER_IS_BETTER = ("load_s", "start_s", "peak_rss_mb")


def write_figures(path: Path, figures: list[Figure]) -> None:
    """Save them as JSON, one a line."""
    lines = ",\n".join(json.dumps(asdict(figure)) for figure in figures)
    path.write_text(f"[\n{lines}\n]\n")


def read_figures(path: Path) -> list[Figure]:
    """What ``write_figures`` wrote."""
    return [Figure(**entry) for entry in json.loads(path.read_text())]


def medians_table(figures: list[Figure]) -> str:
    """A row for each case and system, medians over the rounds."""
    lines = [_line("rows", "prompt", "system", *(title for title, _ in COLUMNS.values()))]
    for case in cases_of(figures):
        for system in systems_of(figures):
            runs = [f for f in figures if f.case == case and f.system == system]
            cells = [_median(runs, name, form) for name, (_, form) in COLUMNS.items()]
            lines.append(_line(case.rows, case.prompt, system, *cells))
    return _ruled(lines)


def ratios_table(figures: list[Figure]) -> str:
    """A row for each case, system of ours and peer: the median over the rounds of ours / peer."""
    lines = [_line("rows", "prompt", "ours / peer", *(COLUMNS[name][0] for name in RATIOS))]
    ours = systems_of([figure for figure in figures if figure.ours])
    peers = [system for system in systems_of(figures) if system not in ours]
    for case in cases_of(figures):
        for one, other in [(one, other) for one in ours for other in peers]:
            pairs = _pairs(figures, case, one, other)
            cells = [_ratio(pairs, name) for name in RATIOS]
            lines.append(_line(case.rows, case.prompt, f"{one} / {other}", *cells))
    return _ruled(lines)


def cases_of(figures: list[Figure]) -> list[Case]:
    """In order: one row first, short prompts first."""
    return sorted({figure.case for figure in figures})


def systems_of(figures: list[Figure]) -> list[str]:
    """Ours first, then by name."""
    return [name for _, name in sorted({(not f.ours, f.system) for f in figures})]


def _pairs(figures: list[Figure], case: Case, one: str, other: str) -> list[tuple[Figure, Figure]]:
    found = {(f.system, f.round): f for f in figures if f.case == case}
    rounds = sorted({round_ for _, round_ in found})
    keys = [((one, round_), (other, round_)) for round_ in rounds]
    return [(found[a], found[b]) for a, b in keys if a in found and b in found]


def _median(runs: list[Figure], name: str, form: str) -> str:
    return format(median(getattr(run, name) for run in runs), form) if runs else "-"


def _ratio(pairs: list[tuple[Figure, Figure]], name: str) -> str:
    ratios = [getattr(one, name) / getattr(other, name) for one, other in pairs]
    return format(median(ratios), ".2f") if ratios else "-"


def _line(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _ruled(lines: list[str]) -> str:
    """A Markdown table: a rule under the first line, text to the left and figures to the right."""
    rule = "| --: | --: | --- |" + " --: |" * (lines[0].count("|") - 4)
    return "\n".join([lines[0], rule, *lines[1:]])


def show(figures: list[Figure]) -> None:
    """Print both tables."""
    print(medians_table(figures), ratios_table(figures), sep="\n\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Show the figures of a comparison again.")
    parser.add_argument("figures", type=Path, help="what compare.py --json wrote")
    show(read_figures(parser.parse_args().figures))
