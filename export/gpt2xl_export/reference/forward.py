"""GPT-2's forward pass in numpy, float32: what an exported graph is checked against.

Independent of the graphs on purpose. Works layer by layer, so that a model larger than memory can
be checked. Shapes: n = positions, d = n_embd, h = n_head, v = vocab_size.
"""

from collections.abc import Callable

import numpy as np

from gpt2xl_export.reference.activations import ACTIVATIONS
from gpt2xl_export.source.checkpoint import Checkpoint
from gpt2xl_export.source.tensor_files import FloatArray


def layer_norm(x: FloatArray, weight: FloatArray, bias: FloatArray, epsilon: float) -> FloatArray:
    """Normalise the last axis."""
    mean = x.mean(-1, keepdims=True)
    variance = x.var(-1, keepdims=True)
    normed: FloatArray = (x - mean) / np.sqrt(variance + np.float32(epsilon))
    return normed * weight + bias


def softmax(x: FloatArray) -> FloatArray:
    """Over the last axis."""
    exp: FloatArray = np.exp(x - x.max(-1, keepdims=True))
    total: FloatArray = exp.sum(-1, keepdims=True)
    return exp / total


def attention(qkv: FloatArray, n_head: int, scale: float) -> FloatArray:
    """Causal self-attention: [n, 3 d] -> [n, d]."""
    n = len(qkv)
    q, k, v = np.moveaxis(qkv.reshape(n, 3, n_head, -1), (1, 2), (0, 1))  # 3 x [h, n, d / h]
    scores = q @ k.swapaxes(1, 2) * np.float32(scale)  # [h, n, n]
    future = np.triu(np.ones((n, n), bool), 1)
    weights = softmax(np.where(future, np.float32(-np.inf), scores))
    return np.moveaxis(weights @ v, 0, 1).reshape(n, -1)


Watch = Callable[[str, FloatArray], None]


class Reference:
    """The model of one checkpoint, its weights read when a part is called.

    Args:
        checkpoint: where they are read from.
        watch: told the input of each block's product under the name of its weight, and the packed
            queries, keys and values as `h.0.attn.qkv`; all [positions, features].
    """

    def __init__(self, checkpoint: Checkpoint, watch: Watch = lambda name, values: None) -> None:
        self.config = checkpoint.config
        self._load = checkpoint.load
        self._watch = watch

    def embed(self, prompts: list[list[int]]) -> list[FloatArray]:
        """Ids -> [n, d] of each prompt."""
        tokens, positions = self._load("wte.weight"), self._load("wpe.weight")
        return [tokens[ids] + positions[: len(ids)] for ids in prompts]

    def block(self, layer: int, states: list[FloatArray]) -> list[FloatArray]:
        """[n, d] -> [n, d] of each prompt, through one transformer block."""
        config, epsilon = self.config, self.config.layer_norm_epsilon
        weights = _Part(self._load, f"h.{layer}.", self._watch)
        activation = ACTIVATIONS[config.activation_function]
        lengths = np.cumsum([len(x) for x in states])[:-1]
        x = np.concatenate(states)
        qkv = weights.linear("attn.c_attn", layer_norm(x, *weights.pair("ln_1"), epsilon))
        self._watch(f"h.{layer}.attn.qkv", qkv)
        scale = config.attention_scale(layer)
        attended = [attention(part, config.n_head, scale) for part in np.split(qkv, lengths)]
        x = x + weights.linear("attn.c_proj", np.concatenate(attended))
        inner = weights.linear("mlp.c_fc", layer_norm(x, *weights.pair("ln_2"), epsilon))
        x = x + weights.linear("mlp.c_proj", activation(inner))
        return np.split(x, lengths)

    def head(self, states: list[FloatArray]) -> list[FloatArray]:
        """[n, d] -> logits [n, v] of each prompt."""
        name = "wte.weight" if self.config.tie_word_embeddings else "lm_head.weight"
        output = self._load(name).T
        norm = _Part(self._load, "", self._watch).pair("ln_f")
        return [layer_norm(x, *norm, self.config.layer_norm_epsilon) @ output for x in states]

    def logits(self, prompts: list[list[int]]) -> list[FloatArray]:
        """Ids -> logits [n, v] of each prompt."""
        states = self.embed(prompts)
        for layer in range(self.config.n_layer):
            states = self.block(layer, states)
        return self.head(states)


class _Part:
    """Weights below a prefix."""

    def __init__(self, load: Callable[[str], FloatArray], prefix: str, watch: Watch) -> None:
        self._load, self._prefix, self._watch = load, prefix, watch

    def pair(self, name: str) -> tuple[FloatArray, FloatArray]:
        return self._load(f"{self._prefix}{name}.weight"), self._load(f"{self._prefix}{name}.bias")

    def linear(self, name: str, x: FloatArray) -> FloatArray:
        self._watch(f"{self._prefix}{name}.weight", x)
        weight, bias = self.pair(name)
        return x @ weight + bias
