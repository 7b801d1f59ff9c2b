"""LoRA adapters of random numbers, and their product computed by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file

from gpt2xl_export.source.checkpoint import open_checkpoint

Tensors = dict[str, npt.NDArray[Any]]

MakeCheckpoint = Callable[..., Path]

MakeAdapter = Callable[..., Path]

PREFIX = "base_model.model."

C_ATTN, C_PROJ = "transformer.h.0.attn.c_attn", "transformer.h.1.mlp.c_proj"

SIZES = {C_ATTN: (32, 96), C_PROJ: (128, 32), "lm_head": (32, 289)}  # inputs, outputs

CONFIG = {"peft_type": "LORA", "r": 4, "lora_alpha": 6, "base_model_name_or_path": "gpt2"}


def numbers(*shape: int, seed: int = 1) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.3, shape).astype(np.float32)


def lora(module: str, rank: int = 4) -> Tensors:
    """A and B as torch's Linear layers have them: [out, in]."""
    n_in, n_out = SIZES[module]
    a, b = numbers(rank, n_in, seed=2), numbers(n_out, rank, seed=3)
    return {f"{PREFIX}{module}.lora_A.weight": a, f"{PREFIX}{module}.lora_B.weight": b}


def embedding_lora(rank: int = 4) -> Tensors:
    module = f"{PREFIX}transformer.wte"
    a, b = numbers(rank, 289, seed=4), numbers(32, rank, seed=5)
    return {f"{module}.lora_embedding_A": a, f"{module}.lora_embedding_B": b}


def product(tensors: Tensors, scaling: float) -> npt.NDArray[np.float64]:
    """scaling * B A, [out, in], written out: a sum over the rank."""
    a, b = (values.astype(np.float64) for values in tensors.values())
    total = np.zeros((b.shape[0], a.shape[1]))
    for k in range(a.shape[0]):
        total += scaling * np.outer(b[:, k], a[k])
    return total


def check_merged(base: Path, adapter: Path, changed: Tensors) -> None:
    """Only ``changed`` weights differ from the base's, and they have these values."""
    original, merged = load_file(base / "model.safetensors"), open_checkpoint(base, adapter)
    if not merged.config.tie_word_embeddings:
        original.setdefault("lm_head.weight", original["wte.weight"])
    assert set(merged.tensor_names) == set(original)
    for name, values in (original | changed).items():
        found = merged.load(name)
        assert found.dtype == np.float32
        exact = 0 if name not in changed else 1e-5
        np.testing.assert_allclose(found, values, rtol=0, atol=exact, err_msg=name)
