"""What the demo scores in each precision, as a Markdown table.

    python benchmarks/evaluation/precisions_of_demo.py models/demo --corpora CORPORA

Perplexity of held-out stories, and both kinds of questions of story_questions.py, by the recipes that `gpt2xl eval` has as
defaults. Each export runs in a process of its own.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from precisions import run_export
from story_questions import write_files

import gpt2xl
from gpt2xl_eval.options import EvalOptions
from gpt2xl_eval.running import evaluate
from gpt2xl_eval.tasks import make_task

CASES = (
    ("fp32",),
    ("fp16",),
    ("int8",),
    ("int8-weight",),
    ("int4",),
    ("int4", "--block-size", "32"),
)
FIGURES = (
    ("perplexity", "stories.txt", "perplexity per byte", "{:.4f}"),
    ("perplexity", "stories.txt", "perplexity per token", "{:.3f}"),
    ("lambada", "lambada.jsonl", "perplexity per last word", "{:.2f}"),
    ("lambada", "lambada.jsonl", "accuracy of the last word", "{:.1%}"),
    ("multiple-choice", "choices.jsonl", "accuracy", "{:.1%}"),
    ("multiple-choice", "choices.jsonl", "accuracy, per token", "{:.1%}"),
)


def figures(bundle: Path, data: Path) -> list[str]:
    """The cells of a row."""
    model = gpt2xl.load(bundle, provider="cpu")
    size, options = model.config.n_positions, EvalOptions()
    found = {
        task: evaluate(model, make_task(task, data / name, model.tokenizer, size, options)).figures
        for task, name in dict.fromkeys((task, name) for task, name, _, _ in FIGURES)
    }
    return [shown.format(found[task][figure]) for task, _, figure, shown in FIGURES]


def main() -> None:
    """Export and measure; print a row for each precision."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--count", type=int, default=500, help="questions of each kind")
    args = parser.parse_args()
    heads = ["precision", "size MB", *(f"{task}: {figure}" for task, _, figure, _ in FIGURES)]
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for line in write_files(args.corpora, Path(folder), args.count, seed=0):
            print(line, file=sys.stderr)
        for number, case in enumerate(CASES):
            out = Path(folder) / str(number)
            run_export(args.checkpoint, out, case)
            size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
            row = [f"`-p {' '.join(case)}`", f"{size:.1f}", *figures(out, Path(folder))]
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
