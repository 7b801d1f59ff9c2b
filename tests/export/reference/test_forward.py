"""The numpy forward pass, compared with results by hand and with plain loops."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gpt2xl import GPT2Config
from gpt2xl_export.reference.forward import (
    Past,
    Reference,
    attention,
    layer_norm,
    softmax,
    split_heads,
)
from gpt2xl_export.source.checkpoint import Checkpoint, open_checkpoint
from gpt2xl_export.source.tensor_files import FloatArray
from gpt2xl_export.source.tensors import expected_shapes

Vector = list[float]
Load = Callable[[str], FloatArray]


def array(*rows: object) -> FloatArray:
    return np.array(rows, np.float32)


def made_of(config: GPT2Config, tensors: dict[str, FloatArray]) -> Checkpoint:
    """A checkpoint of ``tensors``; what they leave out is 0."""
    shapes = expected_shapes(config)

    def load(name: str) -> FloatArray:
        values = tensors.get(name, np.zeros(shapes[name], np.float32))
        assert values.shape == shapes[name]
        return values

    return Checkpoint(Path(), config, load, tuple(shapes), ())


def test_layer_norm_by_hand() -> None:
    # mean 3, variance 4, so (1, 5) -> (-1, 1) with no epsilon; times (2, 3), plus (10, 20)
    got = layer_norm(array([1, 5]), array(2, 3), array(10, 20), 0.0)
    assert got.tolist() == [[8, 23]]
    # epsilon 12 makes the divisor sqrt(4 + 12) = 4
    assert layer_norm(array([1, 5]), array(1, 1), array(0, 0), 12.0).tolist() == [[-0.5, 0.5]]


def test_softmax_by_hand() -> None:
    np.testing.assert_allclose(softmax(array([0, math.log(3)])), [[0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(softmax(array([1e30, 0])), [[1, 0]])


def test_attention_with_equal_scores_is_the_mean_of_the_values_so_far() -> None:
    zero = [0.0, 0.0]
    qkv = array([*zero, *zero, 2, 10], [*zero, *zero, 4, 20], [*zero, *zero, 9, 60])
    assert attention(*split_heads(qkv, 2), 1.0).tolist() == [[2, 10], [3, 15], [5, 30]]


def test_each_head_attends_by_its_own_scores() -> None:
    # Two heads of one number. Head 0 scores keys by q * k = (0, 100), head 1 by (100, 0).
    qkv = array([0, 0, 0, 1, 7, 70], [1, 1, 1, 0, 8, 80])
    np.testing.assert_allclose(attention(*split_heads(qkv, 2), 100.0)[1], [8, 70])


def test_the_scale_multiplies_the_scores() -> None:
    qkv = array([0, 0, 1], [2, 1, 5])  # scores of the second position: 0 and 2
    weight = math.exp(2 * 0.5) / (1 + math.exp(2 * 0.5))
    np.testing.assert_allclose(attention(*split_heads(qkv, 1), 0.5)[1], [1 + 4 * weight], rtol=1e-6)


def test_a_whole_model_by_hand() -> None:
    """Blocks of zeros leave the residual as it is: logits = ln_f(wte[id] + wpe[position]) . wte."""
    config = GPT2Config(3, 2, n_embd=2, n_layer=2, n_head=1, layer_norm_epsilon=0.0)
    embeddings = array([1, 0], [0, 4], [5, 5])
    tensors = {"wte.weight": embeddings, "wpe.weight": array([2, 0], [0, 1])}
    tensors |= {"ln_f.weight": array(1, 10), "ln_f.bias": array(0.5, 0)}
    # position 0, id 0: (3, 0) -> (1, -1) -> (1.5, -10); position 1, id 1: (0, 5) -> (-0.5, 10)
    (logits,) = Reference(made_of(config, tensors)).logits([[0, 1]])
    np.testing.assert_allclose(logits, [[1.5, -40, -42.5], [-0.5, 40, 47.5]], rtol=1e-6)


def test_an_untied_head_is_used_instead_of_the_embeddings() -> None:
    config = GPT2Config(
        2, 1, n_embd=2, n_layer=1, n_head=1, layer_norm_epsilon=0.0, tie_word_embeddings=False
    )
    tensors = {"wte.weight": array([3, 1], [0, 0]), "ln_f.weight": array(1, 1)}
    tensors |= {"lm_head.weight": array([2, 0], [0, 3])}
    (logits,) = Reference(made_of(config, tensors)).logits([[0]])
    np.testing.assert_allclose(logits, [[2, -3]], rtol=1e-6)


def dot(x: Vector, weight: FloatArray, bias: FloatArray) -> Vector:
    """x @ weight + bias, number by number."""
    return [
        float(bias[j]) + sum(x[i] * float(weight[i, j]) for i in range(len(x)))
        for j in range(len(bias))
    ]


def norm(x: Vector, load: Load, name: str, epsilon: float) -> Vector:
    mean = sum(x) / len(x)
    deviation = math.sqrt(sum((v - mean) ** 2 for v in x) / len(x) + epsilon)
    weight, bias = load(f"{name}.weight"), load(f"{name}.bias")
    return [(v - mean) / deviation * float(w) + float(b) for v, w, b in zip(x, weight, bias)]  # noqa: B905


def loops(checkpoint: Checkpoint, ids: list[int]) -> list[Vector]:
    """GPT-2 in float64 with one loop per dimension, straight from the paper's formulas."""
    config, load = checkpoint.config, checkpoint.load

    def linear(x: Vector, name: str) -> Vector:
        return dot(x, load(f"{name}.weight"), load(f"{name}.bias"))

    rows = [
        [float(a) + float(b) for a, b in zip(load("wte.weight")[token], load("wpe.weight")[at])]  # noqa: B905
        for at, token in enumerate(ids)
    ]
    d, size, epsilon = config.n_embd, config.head_dim, config.layer_norm_epsilon
    for layer in range(config.n_layer):
        h = f"h.{layer}"
        packed = [linear(norm(x, load, f"{h}.ln_1", epsilon), f"{h}.attn.c_attn") for x in rows]
        for at, x in enumerate(rows):
            mixed = []
            for head in range(config.n_head):
                part = slice(head * size, (head + 1) * size)
                query = packed[at][part]
                keys = [packed[j][d:][part] for j in range(at + 1)]
                scores = [sum(map(float.__mul__, query, k)) / math.sqrt(size) for k in keys]
                powers = [math.exp(score - max(scores)) for score in scores]
                for i in range(size):
                    values = [packed[j][2 * d :][part][i] for j in range(at + 1)]
                    mixed.append(sum(map(float.__mul__, powers, values)) / sum(powers))
            rows[at] = [a + b for a, b in zip(x, linear(mixed, f"{h}.attn.c_proj"), strict=True)]
        for at, x in enumerate(rows):
            inner = linear(norm(x, load, f"{h}.ln_2", epsilon), f"{h}.mlp.c_fc")
            gelu = [0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) for v in inner]  # fmt: skip
            rows[at] = [a + b for a, b in zip(x, linear(gelu, f"{h}.mlp.c_proj"), strict=True)]
    head_weight = load("wte.weight").T
    no_bias = np.zeros(config.vocab_size, np.float32)
    return [dot(norm(x, load, "ln_f", epsilon), head_weight, no_bias) for x in rows]


@pytest.fixture(scope="module")
def small() -> Checkpoint:
    """Random weights, small enough for loops in Python."""
    config = GPT2Config(13, 8, n_embd=6, n_layer=2, n_head=3)
    rng = np.random.default_rng(0)
    tensors = {
        name: rng.normal(0, 0.7, shape).astype(np.float32)
        for name, shape in expected_shapes(config).items()
    }
    return made_of(config, tensors)


def test_random_weights_give_the_logits_of_plain_loops(small: Checkpoint) -> None:
    ids = [3, 12, 3, 0, 7, 7, 1, 11]
    wanted = np.array(loops(small, ids))
    assert wanted.std() > 0.5
    np.testing.assert_allclose(Reference(small).logits([ids])[0], wanted, rtol=0, atol=1e-5)


def test_a_token_does_not_change_earlier_logits(small: Checkpoint) -> None:
    one, other = Reference(small).logits([[1, 2, 3, 4], [1, 2, 3, 5]])
    np.testing.assert_allclose(one[:3], other[:3], rtol=0, atol=1e-6)
    assert np.abs(one[3] - other[3]).max() > 0.1


def test_prompts_in_one_call_give_the_same_logits_as_alone(small: Checkpoint) -> None:
    prompts = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    for prompt, logits in zip(prompts, Reference(small).logits(prompts), strict=True):
        alone = Reference(small).logits([prompt])[0]
        np.testing.assert_allclose(logits, alone, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sizes", [[1] * 7, [3, 1, 3], [7]], ids=str)
def test_steps_over_a_cache_give_the_logits_of_the_whole(
    small: Checkpoint, sizes: list[int]
) -> None:
    rows = np.random.default_rng(1).integers(0, 13, (3, 7))
    expected = np.stack(Reference(small).logits(rows.tolist()))
    past, reference, start = Past(small.config, 3, 7), Reference(small), 0
    for size in sizes:
        logits = reference.step(rows[:, start : start + size], past)
        start += size
        np.testing.assert_allclose(logits, expected[:, start - 1], rtol=0, atol=1e-5)
    assert past.length == 7


def test_the_linear_layers_can_be_replaced(small: Checkpoint) -> None:
    seen: dict[str, tuple[int, ...]] = {}

    def no_output(name: str, x: FloatArray) -> FloatArray:
        seen[name] = x.shape
        return np.zeros((len(x), small.load(f"{name}.bias").size), np.float32)

    state = Reference(small).embed([[1, 2]])
    (after,) = Reference(small, no_output).block(0, state)
    assert np.array_equal(after, state[0])
    layers = {"attn.c_attn": 6, "attn.c_proj": 6, "mlp.c_fc": 6, "mlp.c_proj": 24}
    assert seen == {f"h.0.{name}": (2, width) for name, width in layers.items()}


def test_the_result_is_float32(checkpoint: Path) -> None:
    reference = Reference(open_checkpoint(checkpoint))
    assert reference.logits([[1, 2]])[0].dtype == np.float32


@pytest.mark.parametrize(
    "change",
    [
        {"layer_norm_epsilon": 0.5},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"activation_function": "relu"},
        {"n_head": 2},
    ],
    ids=str,
)
def test_every_key_of_the_config_that_should_matter_does(
    small: Checkpoint, change: dict[str, object]
) -> None:
    config = dataclasses.replace(small.config, **change)  # type: ignore[arg-type]
    changed = dataclasses.replace(small, config=config)
    ids = [1, 2, 3, 4]
    one, other = (Reference(c).logits([ids])[0] for c in (small, changed))
    assert np.abs(one - other).max() > 1e-3
