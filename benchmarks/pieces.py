"""How the logits of an int8 bundle depend on the pieces in which a prompt is fed: a Markdown table.

    python benchmarks/pieces.py BUNDLE --corpora CORPORA

Windows of 64 tokens of the demo's held-out text are fed whole, in pieces of 7, and one by one, by default and
with ``exact_prompts``.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from held_out import (
    FloatArray,
    held_out_windows,
    mean_kl,
    perplexity,
    top1_agreement,
)

import gpt2xl
from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl.sessions.protocol import Session

WINDOW, WINDOWS, PIECES = 64, 60, (64, 7, 1)


def logits_in_pieces(session: Session, ids: npt.NDArray[np.int64], size: int) -> FloatArray:
    """Logits after each of ``ids``, [len(ids), vocab_size], fed ``size`` at a time."""
    cache = session.new_cache(capacity=len(ids))
    parts = np.split(ids[None], range(size, len(ids), size), axis=1)
    return np.concatenate([session.forward(part, cache, keep=part.shape[1])[0] for part in parts])


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--corpora", type=Path, required=True)
    args = parser.parse_args()
    print("| exact_prompts | pieces of | same top token | KL | largest difference | perplexity |")
    print("|" + " --- |" * 6)
    for exact in (False, True):
        model = gpt2xl.load(args.bundle, exact_prompts=exact)
        windows = held_out_windows(args.corpora, model.tokenizer, WINDOW)[:WINDOWS]
        logits = {
            size: [logits_in_pieces(model.session, ids, size) for ids in windows] for size in PIECES
        }
        whole = [log_softmax(values).astype(np.float32) for values in logits[WINDOW]]
        for size in PIECES:
            got = [log_softmax(values).astype(np.float32) for values in logits[size]]
            pairs = zip(logits[size], logits[WINDOW], strict=True)
            largest = max(float(np.abs(a - b).max()) for a, b in pairs)
            cells = f"{top1_agreement(whole, got):.2%} | {mean_kl(whole, got):.2g} | {largest:.2g}"
            print(f"| {exact} | {size} | {cells} | {perplexity(got, windows):.4f} |", flush=True)


if __name__ == "__main__":
    main()
