"""What each precision costs and saves, as a Markdown table.

    python benchmarks/precisions.py models/demo --corpora CORPORA     # quality, too
    python benchmarks/precisions.py GPT2_XL_CHECKPOINT                # size, time and memory only

Each export runs in a process of its own; its peak memory is the kernel's figure. Quality is that of the portable
graph. "at work" is the loss of the graph and the KV cache that `gpt2xl.load` takes.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from held_out import (
    engine_log_probabilities,
    held_out_windows,
    log_probabilities,
    mean_kl,
    perplexity,
    top1_agreement,
)

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.text.tokenizer import Tokenizer

CASES = (
    ("fp32",),
    ("fp16",),
    ("int8",),
    ("int8-weight",),
    ("int4",),
    ("int4", "--block-size", "32"),
    ("int4", "--block-size", "128"),
    ("int4", "--block-size", "256"),
    ("int4", "--block-size", "256", "--keep", "int4:wte.weight"),
)


# A process between this one and the export: without it the kernel's figure would include our own peak.
LAUNCHER = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def run_export(checkpoint: Path, out: Path, case: tuple[str, ...]) -> tuple[float, float]:
    """(seconds, peak RSS in MB) of one export."""
    command = [sys.executable, "-m", "gpt2xl_cli", "export", str(checkpoint), str(out), "-p", *case]
    start = time.perf_counter()
    peak = subprocess.check_output([sys.executable, "-c", LAUNCHER, *command], text=True)
    return time.perf_counter() - start, int(peak) * 1024 / 1e6


def main() -> None:
    """Export and measure each precision; print a row for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--corpora", type=Path)
    parser.add_argument("--only", nargs="*", help="precisions; default all")
    args = parser.parse_args()

    head = ["precision", "size MB", "export s", "peak RSS MB", "max logit diff"]
    quality = (
        ["perplexity", "vs fp32", "KL to fp32", "same top token", "at work"] if args.corpora else []
    )
    print("| " + " | ".join(head + quality) + " |")
    print("|" + " --- |" * len(head + quality))
    reference = windows = None
    for case in CASES:
        if args.only and case[0] not in args.only:
            continue
        with tempfile.TemporaryDirectory(dir=args.checkpoint.resolve().parent) as folder:
            out = Path(folder) / "bundle"
            seconds, peak = run_export(args.checkpoint, out, case)
            manifest = json.loads((out / "gpt2xl.json").read_text())
            size = sum(entry["size"] for entry in manifest["files"].values()) / 1e6
            parity = manifest["parity"].get("engine", manifest["parity"]["portable"])
            row = [" ".join(case), f"{size:.1f}", f"{seconds:.1f}", f"{peak:.0f}"]
            row.append(f"{parity['whole']['max_abs_logit_diff']:.2g}")
            if args.corpora:
                bundle = open_bundle(out)
                if windows is None:
                    tokenizer = Tokenizer.from_file(bundle.tokenizer)
                    windows = held_out_windows(args.corpora, tokenizer, bundle.config.n_positions)
                    windows = windows[::3]  # log-probabilities of all take 7 GB
                got = log_probabilities(bundle, windows)
                reference = reference or got
                base, ppl = perplexity(reference, windows), perplexity(got, windows)
                row += [f"{ppl:.4f}", f"{ppl / base - 1:+.3%}", f"{mean_kl(reference, got):.2g}"]
                row.append(f"{top1_agreement(reference, got):.2%}")
                at_work = perplexity(engine_log_probabilities(out, windows), windows)
                row.append(f"{at_work / base - 1:+.3%}")
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
