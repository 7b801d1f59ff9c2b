"""config.json and generation_config.json: values that are read, values that are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import BundleError, CheckpointError, GPT2Config
from gpt2xl.bundle.config import read_config

GPT2: dict[str, Any] = {
    "model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12,
    "n_head": 12,
}  # fmt: skip


def write(folder: Path, **overrides: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(GPT2 | overrides))
    return folder


def test_gpt2s_own_config_has_its_published_sizes(tmp_path: Path) -> None:
    config = read_config(write(tmp_path), CheckpointError)
    assert (config.head_dim, config.inner_dim) == (64, 3072)
    assert config.activation_function == "gelu_new"
    assert config.layer_norm_epsilon == 1e-5
    assert config.tie_word_embeddings
    assert config.eos_token_ids == {50256}


def test_the_generation_config_decides_which_id_begins_a_text(tmp_path: Path) -> None:
    write(tmp_path, bos_token_id=5, eos_token_id=6)
    (tmp_path / "generation_config.json").write_text('{"bos_token_id": 9}')
    found = read_config(tmp_path, CheckpointError)
    assert (found.bos_token_id, found.eos_token_id) == (9, 6)


def test_missing_keys_have_the_defaults_of_transformers(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    assert read_config(tmp_path, CheckpointError) == GPT2Config(
        50257, 1024, 768, 12, 12, bos_token_id=50256, eos_token_id=50256
    )  # transformers 4.57: GPT2Config()


def test_an_id_that_is_null_stays_null(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, bos_token_id=None, eos_token_id=None), CheckpointError)
    assert (config.bos_token_id, config.eos_token_id) == (None, None)


@pytest.mark.parametrize(
    ("other", "own"),
    [
        ("hidden_size", "n_embd"),
        ("num_hidden_layers", "n_layer"),
        ("num_attention_heads", "n_head"),
        ("max_position_embeddings", "n_positions"),
    ],
)
def test_other_names_of_sizes_have_precedence_as_in_transformers(
    tmp_path: Path, other: str, own: str
) -> None:
    config = read_config(write(tmp_path, **{other: 24}), CheckpointError)
    assert getattr(config, own) == 24
    with pytest.raises(CheckpointError, match=f"{own} has to be a positive integer, but is 'x'"):
        read_config(write(tmp_path, **{other: "x"}), CheckpointError)


@pytest.mark.parametrize("value", [0, 1, 0.5])
def test_an_epsilon_may_be_written_as_an_integer(tmp_path: Path, value: float) -> None:
    found = read_config(write(tmp_path, layer_norm_epsilon=value), CheckpointError)
    assert found.layer_norm_epsilon == value
    assert type(found.layer_norm_epsilon) is float


def test_keys_that_change_nothing_are_ignored(tmp_path: Path) -> None:
    noise = {"n_ctx": 1024, "resid_pdrop": 0.1, "task_specific_params": {"a": 1}}
    assert read_config(write(tmp_path, **noise), CheckpointError) == read_config(
        write(tmp_path), CheckpointError
    )


def test_n_inner_replaces_four_times_the_width(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, n_inner=100), CheckpointError).inner_dim == 100
    assert read_config(write(tmp_path, n_inner=None), CheckpointError).inner_dim == 3072


@pytest.mark.parametrize(
    ("scaled", "by_layer", "scales"),
    [
        (True, False, [0.25, 0.25, 0.25]),
        (True, True, [0.25, 0.125, 0.25 / 3]),
        (False, False, [1, 1, 1]),
        (False, True, [1, 0.5, 1 / 3]),
    ],
)
def test_attention_is_scaled_as_the_two_flags_say(
    scaled: bool, by_layer: bool, scales: list[float]
) -> None:
    config = GPT2Config(
        9, 9, n_embd=32, n_layer=3, n_head=2,
        scale_attn_weights=scaled, scale_attn_by_inverse_layer_idx=by_layer,
    )  # fmt: skip
    assert [config.attention_scale(layer) for layer in range(3)] == pytest.approx(scales)


@pytest.mark.parametrize(
    ("in_config", "in_generation", "ids"),
    [
        (5, {}, {5}),
        (5, {"eos_token_id": 7}, {7}),
        (5, {"eos_token_id": [7, 8]}, {7, 8}),
        ([5, 6], None, {5, 6}),
        (None, {"eos_token_id": 0}, {0}),
        (5, {"bos_token_id": 9}, {5}),
        (5, {"eos_token_id": None}, set()),
        (None, None, set()),
    ],
)
def test_the_generation_config_decides_which_ids_end_a_text(
    tmp_path: Path, in_config: object, in_generation: dict[str, Any] | None, ids: set[int]
) -> None:
    write(tmp_path, eos_token_id=in_config)
    if in_generation is not None:
        (tmp_path / "generation_config.json").write_text(json.dumps(in_generation))
    assert read_config(tmp_path, CheckpointError).eos_token_ids == ids


@pytest.mark.parametrize(
    "name", ["vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner"]
)
@pytest.mark.parametrize("value", [0, -1, 1.5, "12", True, [1]])
def test_a_size_that_is_not_a_positive_integer_is_named(
    tmp_path: Path, name: str, value: object
) -> None:
    with pytest.raises(CheckpointError, match=f"{name} has to be a positive integer"):
        read_config(write(tmp_path, **{name: value}), CheckpointError)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layer_norm_epsilon", "1e-5"),
        ("layer_norm_epsilon", True),
        ("layer_norm_epsilon", None),
        ("layer_norm_epsilon", -1e-5),
        ("layer_norm_epsilon", 2),
        ("layer_norm_epsilon", 10**400),
        ("eos_token_id", -1),
        ("eos_token_id", [None]),
        ("eos_token_id", [1, 2**31]),
        ("bos_token_id", {}),
        ("vocab_size", 2**31),
        ("eos_token_id", "<|endoftext|>"),
        ("eos_token_id", [1, "2"]),
        ("eos_token_id", [[1]]),
        ("bos_token_id", 1.5),
        ("activation_function", None),
        ("scale_attn_weights", "yes"),
        ("tie_word_embeddings", 1),
    ],
)
def test_a_value_of_the_wrong_type_is_named(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(CheckpointError, match=rf"config\.json': {name}\S* has to be "):
        read_config(write(tmp_path, **{name: value}), CheckpointError)


def test_a_width_that_the_heads_do_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="n_embd 768 is not a multiple of n_head 11"):
        read_config(write(tmp_path, n_head=11), CheckpointError)


@pytest.mark.parametrize("found", ["llama", None, "gpt_neo"])
def test_another_model_is_refused(tmp_path: Path, found: str | None) -> None:
    with pytest.raises(BundleError, match=f"model_type {found!r}; only 'gpt2'"):
        read_config(write(tmp_path, model_type=found), BundleError)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"1", b"\xff\xfe", b'{"a": NaN}', b'{"a": 1e999}', b"[" * 100_000],
)
def test_broken_json_is_named_in_the_callers_own_error(
    tmp_path: Path, name: str, content: bytes
) -> None:
    write(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=f"/{name}'"):
        read_config(tmp_path, BundleError)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"config\.json' does not exist"):
        read_config(tmp_path, BundleError)
