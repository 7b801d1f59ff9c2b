"""Every way a GPT-2's tensors are named in files."""

import pytest

from gpt2xl import CheckpointError, GPT2Config
from gpt2xl_export.source.tensors import (
    Shape,
    expected_shapes,
    is_other_head,
    match_tensors,
    tied_copies,
)

TIED = GPT2Config(vocab_size=11, n_positions=7, n_embd=4, n_layer=2, n_head=2)
UNTIED = GPT2Config(11, 7, n_embd=4, n_layer=2, n_head=2, tie_word_embeddings=False)
HEAD = {"lm_head.weight": (11, 4)}


def prefixed(shapes: dict[str, Shape]) -> dict[str, Shape]:
    """As GPT2LMHeadModel saves them: all but the head below ``transformer.``."""
    return {
        name if name.startswith("lm_head") else f"transformer.{name}": shape
        for name, shape in shapes.items()
    }


def buffers(prefix: str = "") -> dict[str, Shape]:
    """The causal masks that old versions of transformers saved."""
    return {
        f"{prefix}h.{layer}.attn.{name}": shape
        for layer in range(2)
        for name, shape in (("bias", (1, 1, 7, 7)), ("masked_bias", ()))
    }


def test_a_gpt2_has_two_embeddings_twelve_tensors_a_layer_and_a_last_norm() -> None:
    shapes = expected_shapes(TIED)
    assert len(shapes) == 2 + 2 * 12 + 2
    assert shapes["wte.weight"] == (11, 4)
    assert shapes["wpe.weight"] == (7, 4)
    assert shapes["h.1.attn.c_attn.weight"] == (4, 12)
    assert shapes["h.1.attn.c_proj.weight"] == (4, 4)
    assert shapes["h.0.mlp.c_fc.weight"] == (4, 16)
    assert shapes["h.0.mlp.c_proj.weight"] == (16, 4)
    assert shapes["h.0.mlp.c_proj.bias"] == (4,)
    assert shapes["ln_f.bias"] == (4,)
    assert expected_shapes(UNTIED).keys() - shapes.keys() == {"lm_head.weight"}


def test_n_inner_decides_the_width_of_the_feed_forward() -> None:
    config = GPT2Config(11, 7, n_embd=4, n_layer=1, n_head=2, n_inner=9)
    assert expected_shapes(config)["h.0.mlp.c_fc.weight"] == (4, 9)
    assert expected_shapes(config)["h.0.mlp.c_proj.weight"] == (9, 4)


@pytest.mark.parametrize("config", [TIED, UNTIED], ids=["tied", "untied"])
def test_names_match_with_and_without_prefix(config: GPT2Config) -> None:
    shapes = expected_shapes(config)
    assert match_tensors(shapes, config) == {name: name for name in shapes}
    names = match_tensors(prefixed(shapes), config)
    assert list(names) == list(shapes)
    assert set(names.values()) == set(prefixed(shapes))


@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_mask_buffers_are_dropped(prefix: str) -> None:
    shapes = expected_shapes(TIED)
    found = (prefixed(shapes) if prefix else shapes) | buffers(prefix)
    names = match_tensors(found, TIED)
    assert set(names) == set(shapes)
    assert not set(names.values()) & set(buffers(prefix))


def test_the_bias_of_attention_is_no_mask_buffer() -> None:
    assert "h.0.attn.c_attn.bias" in match_tensors(expected_shapes(TIED), TIED)


def test_a_stored_copy_of_a_tied_head_is_dropped() -> None:
    assert "lm_head.weight" not in match_tensors(prefixed(expected_shapes(TIED)) | HEAD, TIED)


def test_an_untied_head_is_kept() -> None:
    names = match_tensors(prefixed(expected_shapes(UNTIED)), UNTIED)
    assert names["lm_head.weight"] == "lm_head.weight"


def test_an_untied_head_that_is_not_there_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"'lm_head\.weight' is missing\.$"):
        match_tensors(expected_shapes(TIED), UNTIED)


@pytest.mark.parametrize("name", expected_shapes(TIED))
def test_any_tensor_that_is_missing_is_named(name: str) -> None:
    shapes = expected_shapes(TIED)
    del shapes[name]
    with pytest.raises(CheckpointError, match=f"tensor '{name}' is missing\\.$"):
        match_tensors(prefixed(shapes), TIED)


def test_several_missing_tensors_are_counted() -> None:
    shapes = {name: s for name, s in expected_shapes(TIED).items() if not name.startswith("h.1.")}
    with pytest.raises(CheckpointError, match=r"'h\.1\.ln_1\.weight' is missing \(and 11 more\)"):
        match_tensors(shapes, TIED)


@pytest.mark.parametrize(
    "name",
    [
        "h.2.ln_1.weight",
        "transformer.h.0.attn.c_attn.scale",
        "prefix_encoder.weight",
        "lm_head.bias",
        "lm_head.0.weight",
    ],
)
def test_a_tensor_too_many_is_named_as_the_file_has_it(name: str) -> None:
    with pytest.raises(
        CheckpointError, match=f"'{name}' does not belong to a GPT-2 of this config"
    ):
        match_tensors(expected_shapes(TIED) | {name: (4,)}, TIED)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("transformer.h.0.attn.c_attn.lora_A.weight", "part of a LoRA adapter that is not merged"),
        ("h.0.mlp.c_fc.base_layer.weight", "part of a LoRA adapter that is not merged"),
        ("lm_head.modules_to_save.default.weight", "part of a LoRA adapter that is not merged"),
        ("h.0.mlp.c_fc.weight.absmax", "part of a quantized checkpoint"),
        ("h.0.mlp.c_fc.weight.quant_state.bitsandbytes__nf4", "part of a quantized checkpoint"),
        ("transformer.h.1.attn.c_proj.qweight", "part of a quantized checkpoint"),
        ("h.0.attn.c_attn.SCB", "part of a quantized checkpoint"),
        ("h.0.crossattention.q_attn.weight", "for cross-attention to an encoder"),
        ("transformer.h.0.ln_cross_attn.weight", "for cross-attention to an encoder"),
    ],
)
def test_a_tensor_that_changes_the_logits_is_said_to_be_what_it_is(name: str, what: str) -> None:
    # Whatever is missing beside it: the weight that the adapter or the format has taken over.
    found = {n: shape for n, shape in expected_shapes(TIED).items() if n != "h.0.mlp.c_fc.weight"}
    with pytest.raises(CheckpointError, match=f"'{name}' is {what}"):
        match_tensors(found | {name: (4,)}, TIED)


HEADS = [
    *("v_head.summary.weight", "v_head.summary.bias", "multiple_choice_head.summary.weight"),
    *("score.weight", "classifier.bias", "qa_outputs.weight", "transformer.value_head.0.weight"),
]


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("config", [TIED, UNTIED], ids=["tied", "untied"])
def test_a_head_beside_the_language_models_is_dropped(name: str, config: GPT2Config) -> None:
    shapes = prefixed(expected_shapes(config))
    assert is_other_head(name)
    assert match_tensors(shapes | {name: (1, 4)}, config) == match_tensors(shapes, config)


@pytest.mark.parametrize("name", ["lm_head.weight", "h.0.attn.c_attn.weight", "wte.weight"])
def test_what_the_logits_depend_on_is_no_other_head(name: str) -> None:
    assert not is_other_head(name)
    assert not is_other_head(f"transformer.{name}")


@pytest.mark.parametrize("head", ["lm_head.weight", "lm_head.decoder.weight"])
@pytest.mark.parametrize("prefix", ["", "transformer."])
def test_a_tied_head_that_is_stored_alone_is_the_embedding(head: str, prefix: str) -> None:
    shapes = {f"{prefix}{name}": shape for name, shape in expected_shapes(TIED).items()}
    shapes[head] = shapes.pop(f"{prefix}wte.weight")
    names = match_tensors(shapes, TIED)
    assert list(names) == list(expected_shapes(TIED))
    assert names["wte.weight"] == head
    with pytest.raises(CheckpointError, match=r"tensor '(wte|lm_head)\.weight' is missing"):
        match_tensors(shapes, UNTIED)


def test_dialogpts_name_of_the_tied_head_is_dropped() -> None:
    shapes = expected_shapes(TIED)
    found = shapes | HEAD | {"lm_head.decoder.weight": (11, 4)}
    assert match_tensors(found, TIED) == {name: name for name in shapes}
    assert tied_copies(found) == ["lm_head.weight", "lm_head.decoder.weight"]


@pytest.mark.parametrize("wrapper", ["module.", "model.", "_orig_mod.transformer."])
def test_a_wrapper_around_the_model_is_named(wrapper: str) -> None:
    found = {f"{wrapper}{name}": shape for name, shape in expected_shapes(TIED).items()}
    with pytest.raises(CheckpointError, match=f"there is '{wrapper}wte.weight': save the model"):
        match_tensors(found, TIED)


@pytest.mark.parametrize(
    ("name", "shape", "wanted"),
    [
        ("wte.weight", (12, 4), [11, 4]),
        ("wpe.weight", (8, 4), [7, 4]),
        ("h.1.attn.c_attn.weight", (12, 4), [4, 12]),
        ("h.0.ln_1.weight", (4, 1), [4]),
        ("h.0.mlp.c_proj.bias", (), [4]),
    ],
)
def test_a_wrong_shape_is_named_with_both_shapes(
    name: str, shape: Shape, wanted: list[int]
) -> None:
    with pytest.raises(CheckpointError) as error:
        match_tensors(prefixed(expected_shapes(TIED) | {name: shape}), TIED)
    message = f"tensor 'transformer.{name}' has shape {list(shape)}, the config asks for {wanted}."
    assert str(error.value) == message


@pytest.mark.parametrize("first", ["wte.weight", "transformer.wte.weight"])
def test_a_tensor_stored_with_and_without_prefix_is_refused(first: str) -> None:
    found = {first: (11, 4)} | expected_shapes(TIED) | {"transformer.wte.weight": (11, 4)}
    with pytest.raises(CheckpointError, match=r"'(transformer\.)?wte\.weight' is stored twice"):
        match_tensors(found, TIED)
