"""The activation functions of GPT-2 checkpoints, in numpy; graph/builder.py has them in ONNX.

Names and formulas are those of ACT2FN in transformers/activations.py.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def gelu_tanh(x: FloatArray) -> FloatArray:
    """GELU in the tanh approximation (Hendrycks and Gimpel 2016), as GPT-2 has it."""
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
    return np.asarray(0.5 * x * (1 + np.tanh(inner)), np.float32)


def gelu_erf(x: FloatArray) -> FloatArray:
    """GELU in its exact form."""
    erf = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)).astype(np.float32)
    return np.asarray(0.5 * x * (1 + erf), np.float32)


def sigmoid(x: FloatArray) -> FloatArray:
    """The logistic function; computed with tanh, it does not overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)), np.float32)


def relu(x: FloatArray) -> FloatArray:
    """max(x, 0)."""
    return np.maximum(x, np.float32(0))


ACTIVATIONS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "gelu_new": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_python_tanh": gelu_tanh,
    "gelu_accurate": gelu_tanh,
    "gelu_python": gelu_erf,
    "gelu": gelu_erf,
    "gelu_10": lambda x: np.clip(gelu_erf(x), np.float32(-10), np.float32(10)),
    "quick_gelu": lambda x: x * sigmoid(np.float32(1.702) * x),
    "relu": relu,
    "relu2": lambda x: relu(x) ** 2,
    "relu6": lambda x: np.minimum(relu(x), np.float32(6)),
    "leaky_relu": lambda x: np.maximum(x, np.float32(0.01) * x),
    "mish": lambda x: x * np.tanh(np.logaddexp(x, np.float32(0))),
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "linear": lambda x: x,
}
