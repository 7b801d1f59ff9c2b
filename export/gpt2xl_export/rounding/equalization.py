"""Even out the channels that a quantized matrix reads: outliers cost all others their precision.

From each channel of the input x of a matrix a constant s is subtracted, and it is divided by a constant d; the rows of
the matrix are multiplied by d, and its bias takes s @ w: the result is the same. What computes x takes the change: the
LayerNorm before attn.c_attn and mlp.c_fc, the values' columns of attn.c_attn before attn.c_proj (attention weights add
up to 1, so what is subtracted from all values is subtracted from their mean). Nothing can take it before mlp.c_proj,
because the activation function is not linear: where outliers are worth it, the graph divides. Keys take a subtraction
as well, for the int8 KV cache: it changes all scores of a query alike.

The divisors follow SmoothQuant (Xiao et al. 2022, arXiv:2211.10438): the largest input of a channel to the power p,
over the largest weight that reads it to the power 1 - p. A channel that is scaled up by any factor, with its weights
scaled down, gets a divisor larger by that factor, so the quantized model stays the same. The subtraction is that of
Outlier Suppression+ (Wei et al. 2023, arXiv:2304.09145).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

ATTENTION_IN, ATTENTION_OUT, MLP_IN, MLP_OUT = LINEARS = (
    "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj",
)  # fmt: skip
"""The matrices of a layer, in the order of use."""
READERS = {"ln_1": ATTENTION_IN, "ln_2": MLP_IN}
KEYS = "attn.keys"
"""The name of the keys beside those of matrices; they are only shifted."""
POWERS = (0.35, 0.5, 0.65, 0.8)
POSITIONS, COLUMNS = 128, 256
"""Of the sample on which powers are compared: evenly spaced rows of the input, columns of the matrix."""
GAIN = 0.7
"""The share of the squared error that may be left for a division of its own to be worth it."""


@dataclass(frozen=True)
class Change:
    """What happens to the inputs of a matrix: (x - shift) / divisor, [n_in] each."""

    shift: FloatArray
    divisor: FloatArray

    def apply(self, x: FloatArray) -> FloatArray:
        """Of ``x``, [..., n_in]."""
        return (x - self.shift) / self.divisor


Changes = Mapping[str, Change]
"""By name of a linear layer, such as `h.0.attn.c_attn`, or of the keys, `h.0.attn.keys`."""
Product = Callable[[FloatArray, FloatArray], FloatArray]
"""[positions, n_in], [n_in, columns] -> x @ w with the rounding of a format."""


def equalized(checkpoint: Checkpoint, changes: Changes) -> Checkpoint:
    """The checkpoint with equalized inputs; dividing those of mlp.c_proj is left to the graph."""
    return replace(checkpoint, load=_Equalized(checkpoint.load, changes).load)


class _Equalized:
    def __init__(self, load: Callable[[str], FloatArray], changes: Changes) -> None:
        self._load, self._changes = load, changes

    def load(self, name: str) -> FloatArray:
        """A tensor of the checkpoint, changed."""
        values = self._load(name)
        if not self._changes or not name.startswith("h."):
            return values
        _, number, *middle, part = name.split(".")
        layer, module = f"h.{number}", ".".join(middle)
        if reader := READERS.get(module):
            return self._norm(part, values, f"{layer}.{reader}")
        values = self._reader(f"{layer}.{module}", part, values)
        return self._qkv(layer, part, values) if module == ATTENTION_IN else values

    def _norm(self, part: str, values: FloatArray, reader: str) -> FloatArray:
        """A LayerNorm gives what ``reader`` gets."""
        change = self._changes.get(reader)
        if change is None:
            return values
        return change.apply(values) if part == "bias" else values / change.divisor

    def _reader(self, name: str, part: str, values: FloatArray) -> FloatArray:
        """A matrix makes up for the change of its inputs."""
        change = self._changes.get(name)
        if change is None:
            return values
        if part == "weight":
            return values * change.divisor[:, None]
        return (
            values + change.shift @ self._load(f"{name}.weight") if change.shift.any() else values
        )

    def _qkv(self, layer: str, part: str, values: FloatArray) -> FloatArray:
        """Keys and values as the cache and attn.c_proj get them."""
        queries, *rest = np.split(values, 3, -1)
        for number, name in enumerate((KEYS, ATTENTION_OUT)):
            if change := self._changes.get(f"{layer}.{name}"):
                own = rest[number]
                rest[number] = change.apply(own) if part == "bias" else own / change.divisor
        return np.concatenate([queries, *rest], -1)


class Trial:
    """Compares changes of a matrix's inputs on some positions and columns of its product.

    Args:
        x: inputs on calibration text, [positions, n_in].
        weight: [n_in, n_out].
        product: with the rounding of the matrix's format.
    """

    def __init__(self, x: FloatArray, weight: FloatArray, product: Product) -> None:
        rows = evenly_spaced(len(x), POSITIONS)
        columns = evenly_spaced(weight.shape[1], COLUMNS)
        self._inputs, self._largest_weights = x, np.abs(weight).max(1)
        self._x, self._weight, self._product = x[rows], weight[:, columns], product
        self._exact = self._x @ self._weight
        self._variance = self._exact.var(0) + np.float32(1e-12)
        none = np.zeros(x.shape[1], np.float32)
        self._unchanged = Change(none, none + 1)
        self.plain_error = self.error(self._unchanged)
        """The mean squared error of a column without a change, relative to its variance."""

    def search(self, *, is_free: bool) -> tuple[Change | None, float]:
        """The change with the smallest error, or None if the matrix is better without; and the error.

        Args:
            is_free: whether something takes the change. If not, outliers only are divided, and the
                error has to fall by much.
        """
        found = list(self._changes(is_free=is_free))
        errors = [self.error(change) for change in found]
        best = int(np.argmin(errors))
        if errors[best] < self.plain_error * (1 if is_free else GAIN):
            return found[best], errors[best]
        return None, self.plain_error

    def _changes(self, *, is_free: bool) -> Iterator[Change]:
        none = self._unchanged.shift
        for shift in (none, midrange(self._inputs)) if is_free else (none,):
            largest = np.abs(self._inputs - shift).max(0)
            for power in POWERS:
                divisor = divisors_of(largest, self._largest_weights, power)
                yield Change(shift, divisor if is_free else np.maximum(divisor, 1))

    def error(self, change: Change) -> float:
        """As `plain_error`, with a change."""
        weight = self._weight * change.divisor[:, None]
        got = self._product(change.apply(self._x), weight) + change.shift @ self._weight
        return float((np.square(got - self._exact).mean(0) / self._variance).mean())


def evenly_spaced(length: int, most: int) -> npt.NDArray[np.int64]:
    """At most ``most`` indices, the first and the last of ``length`` among them.

    >>> evenly_spaced(9, 3).tolist(), evenly_spaced(2, 3).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, length - 1, min(length, most)).astype(np.int64)


def midrange(x: FloatArray) -> FloatArray:
    """The middle between the largest and the smallest value of each channel: [n, channels] -> [channels]."""
    return np.asarray((x.max(0) + x.min(0)) / 2)


def divisors_of(inputs: FloatArray, weights: FloatArray, power: float) -> FloatArray:
    """From the largest input and the largest weight of each channel; channels that are never used keep 1."""
    used = (inputs > 0) & (weights > 0)
    safe = np.where(used, inputs, 1), np.where(used, weights, 1)
    logarithm = power * np.log(safe[0]) - (1 - power) * np.log(safe[1])
    logarithm -= np.median(logarithm[used]) if used.any() else 0
    return np.where(used, np.exp(logarithm), 1).astype(np.float32)
