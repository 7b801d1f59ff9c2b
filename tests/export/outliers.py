"""Checkpoints that are hard to quantize: channels scaled up and their readers scaled down, large logits."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

Tensors = dict[str, npt.NDArray[np.float32]]
FACTOR = 50.0
CHANNELS = np.array([3, 17, 30])


def scale_norms(tensors: Tensors, layer: str, width: int) -> None:
    """Channels that the LayerNorms give."""
    for norm, reader in (("ln_1", "attn.c_attn"), ("ln_2", "mlp.c_fc")):
        for part in ("weight", "bias"):
            tensors[f"{layer}.{norm}.{part}"][CHANNELS] *= FACTOR
        tensors[f"{layer}.{reader}.weight"][CHANNELS] /= FACTOR


def scale_values(tensors: Tensors, layer: str, width: int) -> None:
    """Channels of the values, which attn.c_proj reads."""
    _scale_columns(tensors, f"{layer}.attn.c_attn", 2 * width + CHANNELS, FACTOR)
    tensors[f"{layer}.attn.c_proj.weight"][CHANNELS] /= FACTOR


def scale_keys(tensors: Tensors, layer: str, width: int) -> None:
    """Channels of the keys, which the queries meet."""
    _scale_columns(tensors, f"{layer}.attn.c_attn", width + CHANNELS, FACTOR)
    _scale_columns(tensors, f"{layer}.attn.c_attn", CHANNELS, 1 / FACTOR)


def scale_units(tensors: Tensors, layer: str, width: int) -> None:
    """Hidden units of the MLP; this changes what the activation function gives."""
    _scale_columns(tensors, f"{layer}.mlp.c_fc", CHANNELS, FACTOR)
    tensors[f"{layer}.mlp.c_proj.weight"][CHANNELS] /= FACTOR


KINDS: Mapping[str, Callable[[Tensors, str, int], None]] = {
    "norms": scale_norms,
    "values": scale_values,
    "keys": scale_keys,
    "units": scale_units,
}


def _scale_columns(
    tensors: Tensors, name: str, columns: npt.NDArray[np.int64], factor: float
) -> None:
    tensors[f"{name}.weight"][:, columns] *= factor
    tensors[f"{name}.bias"][columns] *= factor


def with_large_logits(source: Path, out: Path) -> Path:
    """Copy the checkpoint ``source`` to ``out`` with a larger final norm: rounding costs more."""
    shutil.copytree(source, out)
    tensors = load_file(source / "model.safetensors")
    for part in ("weight", "bias"):
        tensors[f"ln_f.{part}"] *= 2.5
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


def with_head_outliers(source: Path, out: Path) -> Path:
    """Copy the checkpoint ``source``, whose head is its own, to ``out`` with outliers of what the head reads."""
    shutil.copytree(source, out)
    tensors = load_file(source / "model.safetensors")
    for part in ("weight", "bias"):
        tensors[f"ln_f.{part}"][CHANNELS] *= FACTOR
    tensors["lm_head.weight"][:, CHANNELS] /= FACTOR
    tensors["lm_head.weight"] *= 2.5
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out


def with_outliers(source: Path, out: Path, kind: str) -> Path:
    """Copy the checkpoint ``source`` to ``out`` with outliers of one of KINDS in each layer."""
    shutil.copytree(source, out)
    tensors = load_file(source / "model.safetensors")
    width = len(tensors["ln_f.weight"])
    for name in [name for name in tensors if name.endswith(".ln_1.weight")]:
        KINDS[kind](tensors, name.removesuffix(".ln_1.weight"), width)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return out
