"""Text that a model writes itself: the calibration text that is like what it was trained on."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from gpt2xl.bundle.config import GPT2Config
from gpt2xl_export.reference.activations import ACTIVATIONS
from gpt2xl_export.reference.forward import layer_norm, softmax
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

SEED = 0


def own_text(checkpoint: Checkpoint, rows: int, length: int) -> list[list[int]]:
    """``rows`` samples of ``length`` ids, the same ones each time; the whole model is in memory."""
    config, rng = checkpoint.config, np.random.default_rng(SEED)
    writer = _Writer(config, {n: checkpoint.load(n) for n in checkpoint.tensor_names}.__getitem__)
    ids = np.empty((rows, length), np.int64)
    ids[:, 0] = _first(config, rows, rng)
    cache = np.zeros((config.n_layer, 2, rows, config.n_head, length, config.head_dim), np.float32)
    # Products this small gain nothing from BLAS's threads, and wait for them where CPUs are busy.
    with threadpool_limits(1, "blas"):
        for position in range(length - 1):
            logits = writer.step(ids[:, position], position, cache)
            ids[:, position + 1] = _sample(logits, rng)
    return [row.tolist() for row in ids]


def _first(config: GPT2Config, rows: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """End-of-text, which every document follows; any id where the model has none."""
    known = [token_id for token_id in sorted(config.eos_token_ids) if token_id < config.vocab_size]
    return np.full(rows, known[0]) if known else rng.integers(0, config.vocab_size, rows)


def _sample(logits: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """[rows, v] -> one id a row, at temperature 1."""
    sums = np.cumsum(softmax(logits), -1, dtype=np.float64)
    at = rng.random((len(logits), 1)) * sums[:, -1:]
    return np.asarray(np.minimum((sums <= at).sum(-1), logits.shape[1] - 1), np.int64)


class _Writer:
    """The forward pass of one position of many rows, their keys and values kept."""

    def __init__(self, config: GPT2Config, load: Callable[[str], FloatArray]) -> None:
        self._config, self._load = config, load

    def step(self, ids: npt.NDArray[np.int64], position: int, cache: FloatArray) -> FloatArray:
        """Ids [rows] at ``position`` -> logits [rows, v]."""
        load, activation = self._load, ACTIVATIONS[self._config.activation_function]
        x = load("wte.weight")[ids] + load("wpe.weight")[position]
        for layer in range(self._config.n_layer):
            part = f"h.{layer}."
            qkv = self._linear(f"{part}attn.c_attn", self._norm(f"{part}ln_1", x))
            attended = self._attend(layer, qkv, position, cache[layer])
            x = x + self._linear(f"{part}attn.c_proj", attended)
            inner = activation(self._linear(f"{part}mlp.c_fc", self._norm(f"{part}ln_2", x)))
            x = x + self._linear(f"{part}mlp.c_proj", inner)
        head = "wte.weight" if self._config.tie_word_embeddings else "lm_head.weight"
        return np.asarray(self._norm("ln_f", x) @ load(head).T)

    def _attend(self, layer: int, qkv: FloatArray, position: int, cache: FloatArray) -> FloatArray:
        """[rows, 3 d] -> [rows, d]; ``cache`` is [2, rows, h, n, d / h]."""
        rows, heads = len(qkv), self._config.n_head
        q, *new = np.moveaxis(qkv.reshape(rows, 3, heads, -1), 1, 0)  # 3 x [rows, h, d / h]
        cache[:, :, :, position] = new
        keys, values = cache[:, :, :, : position + 1]
        scores = q[:, :, None] @ keys.swapaxes(2, 3)  # [rows, h, 1, n]
        scale = np.float32(self._config.attention_scale(layer))
        return np.asarray(softmax(scores * scale) @ values).reshape(rows, -1)

    def _norm(self, name: str, x: FloatArray) -> FloatArray:
        weight, bias = self._load(f"{name}.weight"), self._load(f"{name}.bias")
        return layer_norm(x, weight, bias, self._config.layer_norm_epsilon)

    def _linear(self, name: str, x: FloatArray) -> FloatArray:
        return np.asarray(x @ self._load(f"{name}.weight") + self._load(f"{name}.bias"))
