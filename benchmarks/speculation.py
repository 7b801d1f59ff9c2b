"""What speculation gains on the demo, and that it changes no text: a Markdown table.

    python benchmarks/speculation.py --corpora CORPORA

Fifty prompts of held-out tales and one repetitive text fifty times, 200 greedy tokens after each: without
speculation, with prompt lookup and with the draft model. The three ways run one after the other for each prompt, in
rotating order. Speed-ups are ratios of summed decoding seconds, medians over the rounds.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from held_out import held_out_windows

import gpt2xl
from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions

MODELS = Path(__file__).parents[1] / "models"
CASES = (
    ExportOptions("fp32"),
    ExportOptions("int8"),
    ExportOptions("int8-weight"),
    ExportOptions("int4"),
    ExportOptions("int4", block_size=32),
)
PROMPTS, PROMPT_TOKENS, NEW, ROUNDS = 50, 32, 200, 3
REPETITIVE = "The king said: Go and fetch it. The prince said: I will not. " * 4
Ways = dict[str, dict[str, object]]


def compare(model: gpt2xl.Model, ways: Ways, prompts: list[str]) -> list[str]:
    """Cells of a row, for each way: texts that differ from the plain one, speed-up, accepted draft tokens."""
    guessed, accepted, other = (dict.fromkeys(ways, 0) for _ in range(3))
    speed_ups: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        seconds = dict.fromkeys(ways, 0.0)
        for number, prompt in enumerate(prompts):
            names = list(ways)
            results = {}
            for name in names[number % 3 :] + names[: number % 3]:
                # another prompt in between, so that no way finds its prompt in the KV cache
                model.generate("\n", greedy=True, max_new_tokens=1, prompt_lookup=False)
                options: dict[str, Any] = {"max_new_tokens": NEW, **ways[name]}
                results[name] = model.generate(prompt, greedy=True, **options)
            for name, result in results.items():
                seconds[name] += result.timings.decode
                guessed[name] += result.guesses.guessed
                accepted[name] += result.guesses.accepted
                other[name] += result.new_ids != results["plain"].new_ids
        for name in ways:
            speed_ups[name].append(seconds["plain"] / seconds[name])
    cells = []
    for name in list(ways)[1:]:
        share = (
            f"{accepted[name] / guessed[name]:.0%} of {guessed[name]}" if guessed[name] else "none"
        )
        cells += [str(other[name]), f"{median(speed_ups[name]):.2f}", share]
    return cells


def main() -> None:
    """Export each precision and print its rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", type=Path, required=True)
    args = parser.parse_args()
    head = [f"{way} {what}" for way in ("lookup:", "draft:") for what in ("other texts", "speed-up", "accepted")]  # fmt: skip
    print("| precision | text | " + " | ".join(head) + " |\n|" + " --- |" * 8)
    with tempfile.TemporaryDirectory() as folder:
        export(MODELS / "demo-draft", Path(folder) / "draft", ExportOptions("int8"))
        draft = gpt2xl.load(Path(folder) / "draft", spinning=False)
        ways: Ways = {"plain": {"prompt_lookup": False}, "lookup": {}, "draft": {"draft": draft}}
        for number, options in enumerate(CASES):
            export(MODELS / "demo", Path(folder) / str(number), options)
            model = gpt2xl.load(Path(folder) / str(number))
            windows = held_out_windows(args.corpora, model.tokenizer, 1024)[:PROMPTS]
            tales = [model.tokenizer.decode(window[:PROMPT_TOKENS].tolist()) for window in windows]
            label = options.precision + (", blocks of 32" if options.block_size == 32 else "")
            for text, prompts in (("tales", tales), ("repetitive", [REPETITIVE] * PROMPTS)):
                cells = compare(model, ways, prompts)
                print(f"| {label} | {text} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
