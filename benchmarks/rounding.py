"""Ways to round the demo's block matrices to 4 bits: held-out perplexity of each, same size.

    python benchmarks/rounding.py models/demo --corpora CORPORA

Rounded weights are dequantized and run through the numpy forward pass in float32, so the loss is that of rounding
the weights alone.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from held_out import held_out_windows, mean_kl, perplexity

from gpt2xl.decoding.logprobs import log_softmax
from gpt2xl.text.tokenizer import Tokenizer
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.rounding import gptq
from gpt2xl_export.rounding.calibration import ROWS, page, written_length
from gpt2xl_export.rounding.layers import Plan, calibrate
from gpt2xl_export.rounding.own_text import own_text
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

Rounding = Callable[[str, FloatArray], FloatArray]
BLOCK = 64


def by_scales(scales_of: Callable[[FloatArray], FloatArray]) -> Rounding:
    """The nearest codes for the scales of each block."""

    def apply(name: str, weights: FloatArray) -> FloatArray:
        blocks = weights.reshape(-1, BLOCK, weights.shape[1])
        scales = np.stack([scales_of(block) for block in blocks])[:, None]
        rounded: FloatArray = np.clip(np.rint(blocks / scales), -8, 7) * scales
        return rounded.reshape(weights.shape)

    return apply


def covering(block: FloatArray) -> FloatArray:
    """Round to nearest: the largest value takes the lowest code."""
    largest: FloatArray = np.take_along_axis(block, np.abs(block).argmax(0)[None], 0)[0]
    return largest / np.float32(-8)


def half_quadratic(
    block: FloatArray, steps: int = 20, p: float = 0.7, beta: float = 10
) -> FloatArray:
    """Half-quadratic scales (HQQ, Badri and Shaji 2023), without the zero point we cannot store."""
    scales = covering(block)
    for _ in range(steps):
        codes = np.clip(np.rint(block / scales), -8, 7)
        error = block - codes * scales
        size = np.abs(error) + 1e-8
        outliers = np.sign(error) * np.maximum(size - size ** (p - 1) / beta, 0)
        scales = ((block - outliers) * codes).sum(0) / (codes * codes).sum(0)
        beta *= 1.01
    return scales


def by_inputs(checkpoint: Checkpoint, text: list[list[int]], compensate: bool) -> Rounding:
    """GPTQ, as the exporter does it; asked for the matrices in the order of use."""
    plan = Plan(rounded=dict.fromkeys(block_matrices(checkpoint), BLOCK))
    layers = calibrate(checkpoint, plan, text, compensates=compensate)
    found = ((name, weight) for layer in layers for name, weight in layer.weights.items())

    def apply(name: str, weights: FloatArray) -> FloatArray:
        rounded_name, weight = next(found)
        assert rounded_name == name
        return weight.restored()

    return apply


def block_matrices(checkpoint: Checkpoint) -> list[str]:
    """Names of the matrices of the transformer blocks."""
    names = [name for name in checkpoint.tensor_names if name.startswith("h.") and ".c_" in name]
    return [name for name in names if name.endswith("weight")]


def rounded(checkpoint: Checkpoint, rounding: Rounding) -> Checkpoint:
    """The checkpoint with its block matrices rounded."""
    names = block_matrices(checkpoint)
    changed = {name: rounding(name, checkpoint.load(name)) for name in names}

    def load(name: str) -> FloatArray:
        return changed[name] if name in changed else checkpoint.load(name)

    return replace(checkpoint, load=load)


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--corpora", type=Path, required=True)
    args = parser.parse_args()
    checkpoint = open_checkpoint(args.checkpoint)
    tokenizer = Tokenizer.from_file(args.checkpoint / "tokenizer.json")
    windows = held_out_windows(args.corpora, tokenizer, checkpoint.config.n_positions)
    ours = [list(row) for row in page(tokenizer.encode, checkpoint.config).rows]
    own = own_text(checkpoint, ROWS, written_length(checkpoint))

    def log_probs(of: Checkpoint) -> list[FloatArray]:
        logits = Reference(of).logits([window.tolist() for window in windows])
        return [log_softmax(row).astype(np.float32) for row in logits]

    float32 = log_probs(checkpoint)
    base = perplexity(float32, windows)
    ways = {
        "nearest, covering scale": by_scales(covering),
        "nearest, half-quadratic scale": by_scales(half_quadratic),
        "nearest, searched scale": by_scales(lambda block: gptq.best_scales(block, 4)),
        "GPTQ, a page of ours": by_inputs(checkpoint, ours, compensate=False),
        "GPTQ, a page of ours, compensated": by_inputs(checkpoint, ours, compensate=True),
        "GPTQ, the model's own text": by_inputs(checkpoint, own, compensate=False),
        "GPTQ, half of its own text, compensated": by_inputs(checkpoint, own[::2], compensate=True),
        "GPTQ, its own text, compensated": by_inputs(checkpoint, own, compensate=True),
    }
    print("| rounding | perplexity | vs float32 | KL |\n| --- | --- | --- | --- |")
    print(f"| none | {base:.4f} | | |", flush=True)
    for name, way in ways.items():
        got = log_probs(rounded(checkpoint, way))
        ppl = perplexity(got, windows)
        print(
            f"| {name} | {ppl:.4f} | {ppl / base - 1:+.3%} | {mean_kl(float32, got):.2g} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
