"""Loss over size: `--precision auto` beside the same format for all matrices, as a Markdown table and a picture.

    python benchmarks/mixed/curve.py models/demo --corpora CORPORA --picture docs/pictures/mixed.png

auto gets the size of each uniform int4 export as its budget, and one between int4 and int8; `auto, nearest` is for
checkpoints trained for it. Loss is measured on the demo's held-out stories by the portable graph. Each export runs in a
process of its own. With --figures FILE what was measured is kept, and a second run draws it.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).parents[1]))

from held_out import held_out_windows, log_probabilities, mean_kl, perplexity, top1_agreement
from precisions import run_export

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.text.tokenizer import Tokenizer

UNIFORM = {
    "fp32": ("fp32",),
    "int8": ("int8",),
    "int8-weight": ("int8-weight",),
    "int4, blocks of 32": ("int4", "--block-size", "32", "--rounding", "gptq"),
    "int4, blocks of 64": ("int4", "--block-size", "64", "--rounding", "gptq"),
    "int4, blocks of 128": ("int4", "--block-size", "128", "--rounding", "gptq"),
    "int4, blocks of 64, nearest": ("int4", "--rounding", "nearest"),
}
SIZES_OF = ("int4, blocks of 128", "int4, blocks of 64", "int4, blocks of 32")
"""auto gets these sizes as budgets."""


@dataclass(frozen=True)
class Point:
    """A bundle, measured."""

    name: str
    size: int
    kl: float
    perplexity_loss: float
    """In percent."""
    top1_agreement: float
    seconds: float
    peak_mb: float
    formats: dict[str, str]
    """By matrix; empty where nothing was chosen."""


class Measurement:
    """Exports a checkpoint again and again, and measures each bundle.

    Args:
        checkpoint: its folder.
        corpora: the folder of the texts.
        most_windows: windows of the held-out text.
    """

    def __init__(self, checkpoint: Path, corpora: Path, most_windows: int) -> None:
        self._checkpoint = checkpoint
        config = json.loads((checkpoint / "config.json").read_text())
        tokenizer = Tokenizer.from_file(checkpoint / "tokenizer.json")
        length = config.get("n_positions", 1024)
        self._windows = held_out_windows(corpora, tokenizer, length)[:most_windows]
        self._exact: list[npt.NDArray[np.float32]] | None = None

    def measure(self, name: str, case: tuple[str, ...]) -> Point:
        """Export with the options ``case``; the first one has to be float32."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "bundle"
            seconds, peak = run_export(self._checkpoint, out, case)
            manifest = json.loads((out / "gpt2xl.json").read_text())
            found = log_probabilities(open_bundle(out), self._windows)
            size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
        self._exact = self._exact or found
        base = perplexity(self._exact, self._windows)
        matrices = manifest.get("chosen", {}).get("matrices", {})
        return Point(
            name,
            size,
            mean_kl(self._exact, found),
            100 * (perplexity(found, self._windows) / base - 1),
            top1_agreement(self._exact, found),
            seconds,
            peak,
            {matrix: choice["format"] for matrix, choice in matrices.items()},
        )

    def all_points(self) -> list[Point]:
        """Uniform precisions, then auto at several sizes; prints a row for each."""
        print("| options | size MB | KL | perplexity | same top token | export s | peak MB |")
        print("|" + " --- |" * 7)
        points = [self._printed(name, case) for name, case in UNIFORM.items()]
        sizes = {point.name: point.size for point in points}
        budgets = [sizes[name] for name in SIZES_OF]
        budgets.append((sizes["int4, blocks of 32"] + sizes["int8"]) // 2)
        for budget in budgets:
            for rounding in ("gptq", "nearest"):
                name = "auto" if rounding == "gptq" else "auto, nearest"
                case = ("auto", "--max-size", str(budget), "--rounding", rounding)
                points.append(self._printed(name, case))
        return points

    def _printed(self, name: str, case: tuple[str, ...]) -> Point:
        point = self.measure(name, case)
        print(
            f"| {name} | {point.size / 1e6:.2f} | {point.kl:.2g} | {point.perplexity_loss:+.2f} % |"
            f" {point.top1_agreement:.2%} | {point.seconds:.0f} | {point.peak_mb:.0f} |",
            flush=True,
        )
        return point


def main() -> None:
    """Measure, or read what was measured; draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=60, help="of the held-out text, at most")
    parser.add_argument("--figures", type=Path, help="JSON file, read if it is there, else written")
    parser.add_argument("--picture", type=Path, help="PNG to draw; needs the extra bench")
    args = parser.parse_args()
    if args.figures and args.figures.exists():
        points = [Point(**values) for values in json.loads(args.figures.read_text())]
    else:
        points = Measurement(args.checkpoint, args.corpora, args.windows).all_points()
        if args.figures:
            args.figures.write_text(json.dumps([asdict(point) for point in points], indent=1))
    if args.picture:
        from picture_of_formats import draw

        draw(points, args.picture)


if __name__ == "__main__":
    main()
