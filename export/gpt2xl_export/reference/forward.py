"""GPT-2's forward pass in numpy, float32: exported graphs are checked against it, calibration and rounding run it.

It shares no code with the graphs. It computes one layer at a time, so that a model larger than
memory can be checked. In shapes: n = positions, d = n_embd, h = n_head, v = vocab_size.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from gpt2xl.bundle.config import GPT2Config
from gpt2xl_export.reference.activations import ACTIVATIONS
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray

Load = Callable[[str], FloatArray]
"""Name of a tensor -> its values."""
Linear = Callable[[str, FloatArray], FloatArray]
"""Name of a linear layer (`h.0.attn.c_attn`), [positions, n_in] -> [positions, n_out]."""


def layer_norm(x: FloatArray, weight: FloatArray, bias: FloatArray, epsilon: float) -> FloatArray:
    """Normalize the last axis."""
    mean = x.mean(-1, keepdims=True)
    variance = x.var(-1, keepdims=True)
    normed: FloatArray = (x - mean) / np.sqrt(variance + np.float32(epsilon))
    return normed * weight + bias


def softmax(x: FloatArray) -> FloatArray:
    """Over the last axis."""
    exp: FloatArray = np.exp(x - x.max(-1, keepdims=True))
    total: FloatArray = exp.sum(-1, keepdims=True)
    return exp / total


def apply_linear(load: Load, name: str, x: FloatArray) -> FloatArray:
    """Compute x @ weight + bias of the linear layer ``name``: [n, n_in] -> [n, n_out]."""
    weight, bias = load(f"{name}.weight"), load(f"{name}.bias")
    return x @ weight + bias


def split_heads(qkv: FloatArray, n_head: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Unpack queries, keys and values: [..., n, 3 d] -> 3 x [..., h, n, d / h], views."""
    parts = qkv.reshape(*qkv.shape[:-1], 3, n_head, -1)
    q, k, v = np.moveaxis(parts, (-3, -2), (0, -3))
    return q, k, v


def attention(q: FloatArray, k: FloatArray, v: FloatArray, scale: float) -> FloatArray:
    """Causal self-attention of the last n of m positions.

    Args:
        q: [..., h, n, d / h]
        k: [..., h, m, d / h]
        v: [..., h, m, d / h]
        scale: the scores are multiplied by it.

    Returns:
        [..., n, d]
    """
    n, m = q.shape[-2], k.shape[-2]
    scores = q @ k.swapaxes(-1, -2) * np.float32(scale)  # [..., h, n, m]
    future = np.triu(np.ones((n, m), bool), 1 + m - n)
    weights = softmax(np.where(future, np.float32(-np.inf), scores))
    mixed = np.moveaxis(weights @ v, -3, -2)  # [..., n, h, d / h]
    return np.asarray(mixed.reshape(*mixed.shape[:-2], -1))


class Past:
    """The KV cache of some rows that all have the same length.

    Args:
        config: the model's.
        rows: number of rows.
        capacity: positions that a row can have.
    """

    def __init__(self, config: GPT2Config, rows: int, capacity: int) -> None:
        shape = (config.n_layer, 2, rows, config.n_head, capacity, config.head_dim)
        self._keys_and_values = np.zeros(shape, np.float32)
        self.rows = rows
        self.length = 0
        """Positions that have been through all layers."""

    def extended(self, layer: int, k: FloatArray, v: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Store n new keys and values, [rows, h, n, d / h]; return all m of each."""
        end = self.length + k.shape[-2]
        keys, values = self._keys_and_values[layer]
        keys[:, :, self.length : end], values[:, :, self.length : end] = k, v
        return keys[:, :, :end], values[:, :, :end]


class Reference:
    """The model of one checkpoint; weights are read when a layer is computed.

    Args:
        checkpoint: where the weights are read from.
        linear: computes the linear layers of the blocks; to see or change what goes in and comes
            out. It defaults to x @ weight + bias with the checkpoint's weights.
    """

    def __init__(self, checkpoint: Checkpoint, linear: Linear | None = None) -> None:
        self.config = checkpoint.config
        self._load = checkpoint.load
        self._linear = linear or partial(apply_linear, checkpoint.load)

    def embed(self, prompts: Sequence[Sequence[int]], start: int = 0) -> list[FloatArray]:
        """Ids at the positions from ``start`` on -> [n, d] of each prompt."""
        tokens, positions = self._load("wte.weight"), self._load("wpe.weight")
        return [tokens[list(ids)] + positions[start : start + len(ids)] for ids in prompts]

    def block(
        self, layer: int, states: Sequence[FloatArray], past: Past | None = None
    ) -> list[FloatArray]:
        """Compute one transformer block, [n, d] -> [n, d] of each prompt.

        Args:
            layer: its number, from 0.
            states: its input, for each prompt.
            past: the KV cache of the positions before; the prompts then have the same length.
        """
        h = f"h.{layer}"
        ends = np.cumsum([len(x) for x in states])[:-1]
        x = np.concatenate(states)
        qkv = self._linear(f"{h}.attn.c_attn", self._norm(f"{h}.ln_1", x))
        x = x + self._linear(f"{h}.attn.c_proj", self._attend(layer, qkv, ends, past))
        inner = self._linear(f"{h}.mlp.c_fc", self._norm(f"{h}.ln_2", x))
        activation = ACTIVATIONS[self.config.activation_function]
        x = x + self._linear(f"{h}.mlp.c_proj", activation(inner))
        return np.split(x, ends)

    def head(self, states: Sequence[FloatArray]) -> list[FloatArray]:
        """[n, d] -> logits [n, v] of each prompt."""
        name = "wte.weight" if self.config.tie_word_embeddings else "lm_head.weight"
        output = self._load(name).T
        return [x @ output for x in self.head_inputs(states)]

    def head_inputs(self, states: Sequence[FloatArray]) -> list[FloatArray]:
        """[n, d] -> what the head multiplies, [n, d] of each prompt."""
        return [self._norm("ln_f", x) for x in states]

    def logits(self, prompts: Sequence[Sequence[int]]) -> list[FloatArray]:
        """Ids -> logits [n, v] of each prompt."""
        states = self.embed(prompts)
        for layer in range(self.config.n_layer):
            states = self.block(layer, states)
        return self.head(states)

    def step(self, ids: npt.NDArray[np.int64], past: Past) -> FloatArray:
        """Append [rows, n] ids to the rows of ``past``; the logits of the last ones, [rows, v]."""
        states = self.embed(ids.tolist(), past.length)
        for layer in range(self.config.n_layer):
            states = self.block(layer, states, past)
        past.length += ids.shape[1]
        (logits,) = self.head([np.stack([x[-1] for x in states])])
        return logits

    def _attend(
        self, layer: int, qkv: FloatArray, ends: npt.NDArray[np.int64], past: Past | None
    ) -> FloatArray:
        """[positions of all prompts, 3 d] -> [the same, d]."""
        n_head, scale = self.config.n_head, self.config.attention_scale(layer)
        if past is None:
            heads = [split_heads(part, n_head) for part in np.split(qkv, ends)]
            return np.concatenate([attention(q, k, v, scale) for q, k, v in heads])
        q, k, v = split_heads(qkv.reshape(past.rows, -1, qkv.shape[-1]), n_head)
        keys, values = past.extended(layer, k, v)
        return attention(q, keys, values, scale).reshape(len(qkv), -1)

    def _norm(self, name: str, x: FloatArray) -> FloatArray:
        weight, bias = self._load(f"{name}.weight"), self._load(f"{name}.bias")
        return layer_norm(x, weight, bias, self.config.layer_norm_epsilon)
