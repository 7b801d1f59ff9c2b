"""The contract of both graphs: names, types, sizes, one weights file, and what they compute."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from gpt2xl import load
from gpt2xl.bundle.config import read_config
from gpt2xl.errors import BundleError
from gpt2xl_export.reference.activations import ACTIVATIONS
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.source.checkpoint import open_checkpoint
from gpt2xl_export.source.tensors import expected_shapes

Described = dict[str, tuple[int, list[int | str]]]
GRAPHS = ["model", "engine"]
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64
B, S, TOTAL = "batch_size", "sequence_length", "past_sequence_length + sequence_length"
HEADS, HEAD_DIM, WIDTH, VOCAB = 2, 16, 32, 289


def read(bundle: Path, stem: str) -> onnx.ModelProto:
    """A graph without its weights."""
    return onnx.load(bundle / "onnx" / f"{stem}.onnx", load_external_data=False)


def described(values: Any) -> Described:
    """Name -> (element type, dimensions)."""
    return {
        value.name: (
            value.type.tensor_type.elem_type,
            [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
        )
        for value in values
    }


def tensor(name: str, *dimensions: int | str) -> Described:
    """One float tensor."""
    return {name: (FLOAT, list(dimensions))}


def caches(prefix: str, length: str) -> Described:
    """Both layers' keys and values."""
    return {
        f"{prefix}.{layer}.{part}": (FLOAT, [B, HEADS, length, HEAD_DIM])
        for layer in range(2)
        for part in ("key", "value")
    }


TOKENS: Described = {
    "input_ids": (INT64, [B, S]),
    "attention_mask": (INT64, [B, TOTAL]),
    "position_ids": (INT64, [B, S]),
}
CONTRACT: dict[str, tuple[Described, Described]] = {
    "model": (
        TOKENS | caches("past_key_values", "past_sequence_length"),
        tensor("logits", B, S, VOCAB) | caches("present", TOTAL),
    ),
    "engine": (
        TOKENS
        | caches("past_key_values", "max_sequence_length")
        | {"num_logits_to_keep": (INT64, [])},
        tensor("logits", B, "num_logits_to_keep", VOCAB)
        | caches("present", "max_sequence_length")
        | tensor("last_hidden_state", B, "num_logits_to_keep", WIDTH),
    ),
}


def external(model: onnx.ModelProto) -> dict[str, dict[str, str]]:
    """Name -> location, offset and length of each initializer kept outside."""
    return {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    }


@pytest.mark.parametrize("stem", GRAPHS)
def test_names_types_and_dimensions_are_the_contracts_in_order(bundle: Path, stem: str) -> None:
    graph = read(bundle, stem).graph
    inputs, outputs = CONTRACT[stem]
    assert list(described(graph.input).items()) == list(inputs.items())
    assert list(described(graph.output).items()) == list(outputs.items())


@pytest.mark.parametrize("stem", GRAPHS)
def test_the_onnx_checker_accepts_the_graph(bundle: Path, stem: str) -> None:
    onnx.checker.check_model(bundle / "onnx" / f"{stem}.onnx", full_check=stem == "model")


def test_the_portable_graph_uses_nothing_but_standard_operators(bundle: Path) -> None:
    model = read(bundle, "model")
    assert {node.domain for node in model.graph.node} == {""}


def test_the_engine_graph_is_fused(bundle: Path) -> None:
    operators = [node.op_type for node in read(bundle, "engine").graph.node]
    assert operators.count("GroupQueryAttention") == 2
    assert operators.count("LayerNormalization") == 5
    assert operators.count("Softmax") == 0
    assert len(operators) < len(read(bundle, "model").graph.node)


def test_node_and_value_names_are_unique(bundle: Path) -> None:
    for stem in GRAPHS:
        nodes = read(bundle, stem).graph.node
        values = [name for node in nodes for name in node.output if name]
        assert len(values) == len(set(values))
        assert len({node.name for node in nodes}) == len(nodes)


@pytest.mark.parametrize("tied", [True, False])
def test_both_graphs_point_into_one_file_that_holds_each_parameter_once(
    make_bundle: Callable[..., Path], tied: bool
) -> None:
    bundle = make_bundle({"tie_word_embeddings": tied})
    shapes = expected_shapes(read_config(bundle, BundleError))
    assert ("lm_head.weight" in shapes) is not tied
    model, engine = (external(read(bundle, stem)) for stem in GRAPHS)
    assert model == engine
    assert set(model) == set(shapes)
    assert {entry["location"] for entry in model.values()} == {"model.onnx_data"}
    for name, shape in shapes.items():
        assert int(model[name]["length"]) == 4 * np.prod(shape)
    size = (bundle / "onnx" / "model.onnx_data").stat().st_size
    parameters = sum(int(np.prod(shape)) for shape in shapes.values())
    assert 4 * parameters <= size < 4 * parameters + 4096 * len(shapes)


def test_large_tensors_start_on_pages_and_none_overlap(bundle: Path) -> None:
    spans = sorted(
        (int(entry["offset"]), int(entry["length"]))
        for entry in external(read(bundle, "model")).values()
    )
    assert all(offset % (4096 if length >= 4096 else 64) == 0 for offset, length in spans)
    for (offset, length), (after, _) in pairwise(spans):
        assert offset + length <= after


def test_inline_constants_are_small(bundle: Path) -> None:
    for stem in GRAPHS:
        for tensor in read(bundle, stem).graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL:
                assert len(tensor.raw_data) <= 64, tensor.name


def test_the_weights_of_the_file_are_the_checkpoints(bundle: Path, checkpoint: Path) -> None:
    source = open_checkpoint(checkpoint)
    model = onnx.load(bundle / "onnx" / "model.onnx")
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    for name in source.tensor_names:
        assert np.array_equal(stored[name], source.load(name)), name


def test_the_hidden_states_times_the_head_are_the_logits(bundle: Path, checkpoint: Path) -> None:
    ids = np.array([[5, 9, 280], [1, 2, 3]])
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    feed |= {"position_ids": np.tile(np.arange(3), (2, 1))}
    cache = {
        name: np.zeros((2, HEADS, 3, HEAD_DIM), np.float32)
        for name in caches("past_key_values", "")
    }
    session = ort.InferenceSession(bundle / "onnx" / "engine.onnx")
    logits, hidden = session.run(["logits", "last_hidden_state"], feed | cache)
    wanted = hidden @ open_checkpoint(checkpoint).load("wte.weight").T
    np.testing.assert_allclose(logits, wanted, atol=1e-5)


CONFIGS: list[dict[str, object]] = [
    {"n_head": 1},
    {"n_head": 3, "n_embd": 24, "n_layer": 1},
    {"n_inner": 50},
    {"scale_attn_weights": False},
    {"scale_attn_by_inverse_layer_idx": True, "n_layer": 3},
    {"layer_norm_epsilon": 0.1},
    {"tie_word_embeddings": False},
    {"n_positions": 1},
]


@pytest.mark.parametrize(
    "config", [*({"activation_function": name} for name in ACTIVATIONS), *CONFIGS], ids=str
)
def test_graphs_compute_what_the_reference_does(
    make_checkpoint: Callable[..., Path],
    make_bundle: Callable[..., Path],
    run_graph: Callable[..., Any],
    config: dict[str, object],
) -> None:
    checkpoint = open_checkpoint(make_checkpoint(config))
    ids = [7, 281, 0, 33, 33, 250][: checkpoint.config.n_positions]
    wanted = Reference(checkpoint).logits([ids])[0]
    assert wanted.std() > 0.3, "logits too dull to show anything"
    bundle = make_bundle(config)
    portable = run_graph(bundle / "onnx" / "model.onnx", [ids])[0]
    np.testing.assert_allclose(portable, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())
    engine = run_graph(bundle / "onnx" / "engine.onnx", [ids])[0]
    np.testing.assert_allclose(engine, wanted[-1:], rtol=0, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("config", [{"n_head": 4, "n_embd": 20}, {"n_head": 2, "n_embd": 2}])
def test_heads_that_the_fused_attention_refuses_leave_the_portable_graph_alone(
    make_checkpoint: Callable[..., Path],
    make_bundle: Callable[..., Path],
    run_graph: Callable[..., Any],
    config: dict[str, object],
) -> None:
    bundle, ids = make_bundle(config), [7, 281, 0, 33]
    assert not (bundle / "onnx" / "engine.onnx").exists()
    assert len(load(bundle).generate("Once", greedy=True, max_new_tokens=1).new_ids) == 1
    wanted = Reference(open_checkpoint(make_checkpoint(config))).logits([ids])[0]
    got = run_graph(bundle / "onnx" / "model.onnx", [ids])[0]
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-5)
