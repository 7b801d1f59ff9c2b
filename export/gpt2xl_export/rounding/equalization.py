"""Even out the channels that a quantized matrix reads: outliers cost all others their precision.

The input x of a matrix is divided by one number for each channel, its rows are multiplied by it: x / d @ (d * w) is
x @ w. What computes x takes the division: the LayerNorm before attn.c_attn and mlp.c_fc, the values' columns of
attn.c_attn before attn.c_proj. Nothing can take it before mlp.c_proj, because the activation function is not linear: where
outliers are worth it, the graph divides. The divisors follow SmoothQuant (Xiao et al. 2022, arXiv:2211.10438):
the largest input of a channel to the power p, over the largest weight that reads it to the power 1 - p. A channel
that is scaled up by any factor, with its weights scaled down, gets a divisor larger by that factor, so the quantized
model stays the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

ATTENTION_IN, ATTENTION_OUT, MLP_IN, MLP_OUT = LINEARS = (
    "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj",
)  # fmt: skip
"""The matrices of a layer, in the order of use."""
NORMS = {ATTENTION_IN: "ln_1", MLP_IN: "ln_2"}
POWERS = (0.35, 0.5, 0.65, 0.8)
POSITIONS, COLUMNS = 128, 256
"""Of the sample on which powers are compared: evenly spaced rows of the input, columns of the matrix."""
GAIN = 0.7
"""The share of the squared error that has to be left for a division of its own."""
Divisors = Mapping[str, FloatArray]
"""By name of a linear layer, such as `h.0.attn.c_attn`: what its inputs are divided by, [n_in]."""
Product = Callable[[FloatArray, FloatArray], FloatArray]
"""[positions, n_in], [n_in, columns] -> x @ w with the rounding of a format."""


def equalized(checkpoint: Checkpoint, divisors: Divisors) -> Checkpoint:
    """The checkpoint with divided inputs and multiplied weights; inputs of mlp.c_proj are left to the graph."""

    def load(name: str) -> FloatArray:
        return equalize(name, checkpoint.load(name), divisors)

    return replace(checkpoint, load=load)


def equalize(name: str, values: FloatArray, divisors: Divisors) -> FloatArray:
    """The tensor ``name`` of the checkpoint with equalized inputs."""
    if not name.startswith("h."):
        return values
    prefix, number, module, *_ = name.split(".")
    layer = f"{prefix}.{number}"
    for reader, norm in NORMS.items():
        if module == norm and (by := divisors.get(f"{layer}.{reader}")) is not None:
            return values / by
    linear = name.rpartition(".")[0]
    by = divisors.get(linear)
    if name.endswith(".weight") and by is not None:
        values = values * by[:, None]
    if linear.endswith(ATTENTION_IN) and f"{layer}.{ATTENTION_OUT}" in divisors:
        by = divisors[f"{layer}.{ATTENTION_OUT}"]
        values = np.concatenate([values[..., : -len(by)], values[..., -len(by) :] / by], -1)
    return values


def find_divisors(
    x: FloatArray, weight: FloatArray, product: Product, *, is_free: bool
) -> tuple[FloatArray | None, float]:
    """Search the power with the smallest error of the product.

    Args:
        x: inputs on calibration text, [positions, n_in].
        weight: [n_in, n_out].
        product: with the rounding of the matrix's format.
        is_free: whether something takes the division. If not, outliers only are divided, and the error
            has to fall by much.

    Returns:
        The divisors, [n_in], or None if the matrix is better without; and the root of the mean
        squared error, relative to the product.
    """
    rows = np.linspace(0, len(x) - 1, min(len(x), POSITIONS)).astype(int)
    columns = np.linspace(0, weight.shape[1] - 1, min(weight.shape[1], COLUMNS)).astype(int)
    some, part = x[rows], weight[:, columns]
    exact = some @ part
    size = np.square(exact).mean(0) + np.float32(1e-12)

    def error(by: FloatArray) -> float:
        difference = product(some / by, part * by[:, None]) - exact
        return float((np.square(difference).mean(0) / size).mean())

    inputs, weights = np.abs(x).max(0), np.abs(weight).max(1)
    found = [divisors_of(inputs, weights, power) for power in POWERS]
    found = found if is_free else [np.maximum(by, 1) for by in found]
    errors = [error(by) for by in found]
    best, plain = int(np.argmin(errors)), error(np.ones_like(inputs))
    if errors[best] < plain * (1 if is_free else GAIN):
        return found[best], errors[best] ** 0.5
    return None, plain**0.5


def divisors_of(inputs: FloatArray, weights: FloatArray, power: float) -> FloatArray:
    """From the largest input and the largest weight of each channel; channels that are never used keep 1."""
    used = (inputs > 0) & (weights > 0)
    safe = np.where(used, inputs, 1), np.where(used, weights, 1)
    logarithm = power * np.log(safe[0]) - (1 - power) * np.log(safe[1])
    logarithm -= np.median(logarithm[used]) if used.any() else 0
    return np.where(used, np.exp(logarithm), 1).astype(np.float32)
