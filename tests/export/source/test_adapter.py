"""The weights that a merged LoRA adapter gives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file
from tests.export.source.adapters import (
    C_ATTN,
    C_PROJ,
    PREFIX,
    MakeAdapter,
    MakeCheckpoint,
    Tensors,
    check_merged,
    embedding_lora,
    lora,
    numbers,
    product,
)

from gpt2xl_export.source.checkpoint import open_checkpoint


def test_b_times_a_is_added_to_the_weight(checkpoint: Path, make_adapter: MakeAdapter) -> None:
    base = load_file(checkpoint / "model.safetensors")
    check_merged(
        checkpoint,
        make_adapter(lora(C_ATTN) | lora(C_PROJ)),
        {
            "h.0.attn.c_attn.weight": base["h.0.attn.c_attn.weight"] + product(lora(C_ATTN), 1.5).T,
            "h.1.mlp.c_proj.weight": base["h.1.mlp.c_proj.weight"] + product(lora(C_PROJ), 1.5).T,
        },
    )


SCALINGS: dict[str, tuple[dict[str, object], int, float]] = {
    "defaults": ({"r": 8, "lora_alpha": 8}, 8, 1.0),
    "rank-stabilized": ({"use_rslora": True}, 4, 6 / 4**0.5),
    "a whole number of alpha": ({"lora_alpha": 64}, 4, 16.0),
    "alpha of its own": ({"alpha_pattern": {"c_attn": 10}}, 4, 2.5),
    "rank of its own": ({"rank_pattern": {"h.0.attn.c_attn": 3}}, 3, 2.0),
    "rank of its own, rank-stabilized": (
        {"rank_pattern": {"h.0.attn.c_attn": 9}, "use_rslora": True}, 9, 2.0
    ),
    "a pattern": ({"alpha_pattern": {r"h\.\d+\.attn.*": 2}}, 4, 0.5),
    "an anchored pattern": ({"alpha_pattern": {"^transformer.h.0.attn.c_attn": 2}}, 4, 0.5),
    "the first pattern": ({"alpha_pattern": {"c_attn": 2, "attn.c_attn": 4}}, 4, 0.5),
    "patterns of others": ({"alpha_pattern": {"attn": 2, "h.1.attn.c_attn": 2, "c_att": 2}}, 4, 1.5),
    "the wrong layout said": ({"fan_in_fan_out": False}, 4, 1.5),
}  # fmt: skip


@pytest.mark.parametrize(("config", "rank", "scaling"), SCALINGS.values(), ids=SCALINGS)
def test_the_config_decides_on_the_scaling(
    checkpoint: Path,
    make_adapter: MakeAdapter,
    config: dict[str, object],
    rank: int,
    scaling: float,
) -> None:
    weight = load_file(checkpoint / "model.safetensors")["h.0.attn.c_attn.weight"]
    tensors = lora(C_ATTN, rank)
    changed = {"h.0.attn.c_attn.weight": weight + product(tensors, scaling).T}
    check_merged(checkpoint, make_adapter(tensors, **config), changed)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_multiplied_in_float32(
    checkpoint: Path, make_adapter: MakeAdapter, dtype: type
) -> None:
    weight = load_file(checkpoint / "model.safetensors")["h.0.attn.c_attn.weight"]
    halves: Tensors = {name: values.astype(dtype) for name, values in lora(C_ATTN).items()}
    changed = {"h.0.attn.c_attn.weight": weight + product(halves, 1.5).T}
    check_merged(checkpoint, make_adapter(halves), changed)


def test_whole_tensors_replace_those_of_the_base(
    checkpoint: Path, make_adapter: MakeAdapter
) -> None:
    wholes = {
        "transformer.ln_f.weight": numbers(32),
        "transformer.h.0.attn.c_attn.base_layer.bias": numbers(96),  # with bias="lora_only"
        "transformer.h.1.ln_1.bias": numbers(32),
        "transformer.h.0.attn.bias": np.tril(np.ones((1, 1, 96, 96), np.uint8)),  # a mask
    }
    tensors = {f"{PREFIX}{name}": values for name, values in wholes.items()}
    adapter = make_adapter(tensors, modules_to_save=["ln_f"], bias="all")
    check_merged(
        checkpoint,
        adapter,
        {
            "ln_f.weight": numbers(32),
            "h.0.attn.c_attn.bias": numbers(96),
            "h.1.ln_1.bias": numbers(32),
        },
    )


EMBEDDED = numbers(289, 32, seed=7)

UNTYING: dict[str, tuple[Tensors, list[str], Callable[[npt.NDArray[Any]], Tensors]]] = {
    "lora on the embedding": (
        embedding_lora(), [], lambda wte: {"wte.weight": wte + product(embedding_lora(), 1.5).T}
    ),
    "lora on the head": (
        lora("lm_head"), [], lambda wte: {"lm_head.weight": wte + product(lora("lm_head"), 1.5)}
    ),
    "lora on the head, its base saved": (
        lora("lm_head") | {f"{PREFIX}lm_head.base_layer.weight": EMBEDDED},
        [],
        lambda _: {
            "wte.weight": EMBEDDED, "lm_head.weight": EMBEDDED + product(lora("lm_head"), 1.5)
        },
    ),
    "a head of its own": (
        {f"{PREFIX}lm_head.weight": EMBEDDED}, ["lm_head"], lambda _: {"lm_head.weight": EMBEDDED}
    ),
    "an embedding of its own": (
        {f"{PREFIX}transformer.wte.weight": EMBEDDED}, ["wte"], lambda _: {"wte.weight": EMBEDDED}
    ),
    "both of their own": (
        {f"{PREFIX}transformer.wte.weight": EMBEDDED, f"{PREFIX}lm_head.weight": -EMBEDDED},
        ["lm_head", "wte"],
        lambda _: {"wte.weight": EMBEDDED, "lm_head.weight": -EMBEDDED},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tensors", "saved", "changed"), UNTYING.values(), ids=UNTYING)
def test_a_change_of_one_side_of_a_tied_embedding_unties_it(
    checkpoint: Path,
    make_adapter: MakeAdapter,
    tensors: Tensors,
    saved: list[str],
    changed: Callable[[npt.NDArray[Any]], Tensors],
) -> None:
    wte = load_file(checkpoint / "model.safetensors")["wte.weight"]
    adapter = make_adapter(tensors, modules_to_save=saved)
    assert open_checkpoint(checkpoint).config.tie_word_embeddings
    assert not open_checkpoint(checkpoint, adapter).config.tie_word_embeddings
    check_merged(checkpoint, adapter, changed(wte))


def test_a_saved_embedding_without_its_own_copy_stays_tied(
    checkpoint: Path, make_adapter: MakeAdapter
) -> None:
    adapter = make_adapter({f"{PREFIX}transformer.wte.weight": EMBEDDED})
    assert open_checkpoint(checkpoint, adapter).config.tie_word_embeddings
    check_merged(checkpoint, adapter, {"wte.weight": EMBEDDED})


def test_an_untied_base_stays_untied(
    make_checkpoint: MakeCheckpoint, make_adapter: MakeAdapter
) -> None:
    base = make_checkpoint({"tie_word_embeddings": False})
    wte = load_file(base / "model.safetensors")["wte.weight"]
    changed = {"wte.weight": wte + product(embedding_lora(), 1.5).T}
    check_merged(base, make_adapter(embedding_lora()), changed)
