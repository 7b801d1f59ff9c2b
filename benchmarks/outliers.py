"""What outliers cost each precision, as a Markdown table.

    python benchmarks/outliers.py models/demo --corpora CORPORA
    python benchmarks/outliers.py SPIKY --corpora CORPORA --kinds none --length 1000

Some channels of CHECKPOINT are scaled by each of --factors, so that it has the outliers of large models. ln, v, k and bias
change nothing in exact arithmetic: what reads the channels is scaled back. mlp and pos0 change the model, so each row
is compared with a float32 export of its own. Quality is that of the graph and the KV cache that `gpt2xl.load` takes,
on the end of the held-out tales. A cell has the loss of perplexity over float32 and the mean KL to it in nats.

- ln: 6 channels of what both LayerNorms of each layer give
- v, k: 6 channels of the values or of the keys of each layer
- bias: 6 channels of both LayerNorms, the keys and the values, moved and not scaled
- mlp: 8 hidden units of each MLP, before the activation
- pos0: 4 channels of the embedding of position 0: an attention sink
"""

import argparse
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from held_out import engine_log_probabilities, held_out_windows, mean_kl, perplexity
from precisions import run_export
from safetensors.numpy import load_file, save_file

from gpt2xl.text.tokenizer import Tokenizer

FloatArray = npt.NDArray[np.float32]
Tensors = dict[str, FloatArray]
CASES = (
    "int8",
    "int8-weight",
    "int4 --block-size 32",
    "int4 --block-size 64",
    "int4 --block-size 128",
    "int4 --block-size 256",
    "int4 --keep int4:wte.weight",
)
"""Options of the exports beside fp32."""
FACTORS = (10.0, 50.0, 200.0)


def scale_norms(tensors: Tensors, layer: str, factor: float, rng: np.random.Generator) -> None:
    """Channels of the LayerNorms; the same ones in all layers, as in large models."""
    width = len(tensors[f"{layer}.ln_1.weight"])
    channels = np.random.default_rng(1).choice(width, 6, replace=False)
    for norm, reader in (("ln_1", "attn.c_attn"), ("ln_2", "mlp.c_fc")):
        for part in ("weight", "bias"):
            tensors[f"{layer}.{norm}.{part}"][channels] *= factor
        tensors[f"{layer}.{reader}.weight"][channels] /= factor


def scale_values(tensors: Tensors, layer: str, factor: float, rng: np.random.Generator) -> None:
    """Channels of the values, which attn.c_proj reads."""
    channels = _channels(tensors, layer, rng)
    _scale_columns(tensors, f"{layer}.attn.c_attn", 2 * _width(tensors, layer) + channels, factor)
    tensors[f"{layer}.attn.c_proj.weight"][channels] /= factor


def scale_keys(tensors: Tensors, layer: str, factor: float, rng: np.random.Generator) -> None:
    """Channels of the keys, which the queries meet."""
    channels = _channels(tensors, layer, rng)
    _scale_columns(tensors, f"{layer}.attn.c_attn", _width(tensors, layer) + channels, factor)
    _scale_columns(tensors, f"{layer}.attn.c_attn", channels, 1 / factor)


def move_channels(tensors: Tensors, layer: str, factor: float, rng: np.random.Generator) -> None:
    """Channels of LayerNorms, keys and values by ``factor`` of their usual size: all of one sign."""
    width = _width(tensors, layer)
    for norm, reader in (("ln_1", "attn.c_attn"), ("ln_2", "mlp.c_fc")):
        channels = rng.choice(width, 6, replace=False)
        step = factor * np.abs(tensors[f"{layer}.{norm}.weight"]).mean()
        tensors[f"{layer}.{norm}.bias"][channels] += step
        rows = tensors[f"{layer}.{reader}.weight"][channels]
        tensors[f"{layer}.{reader}.bias"] -= step * rows.sum(0)
    bias, projection = tensors[f"{layer}.attn.c_attn.bias"], tensors[f"{layer}.attn.c_proj.weight"]
    values, keys = _channels(tensors, layer, rng), _channels(tensors, layer, rng)
    bias[2 * width + values] += factor
    bias[width + keys] += factor
    tensors[f"{layer}.attn.c_proj.bias"] -= factor * projection[values].sum(0)


def scale_units(tensors: Tensors, layer: str, factor: float, rng: np.random.Generator) -> None:
    """Hidden units of the MLP: this changes what the activation function gives."""
    units = rng.choice(len(tensors[f"{layer}.mlp.c_fc.bias"]), 8, replace=False)
    _scale_columns(tensors, f"{layer}.mlp.c_fc", units, factor)
    tensors[f"{layer}.mlp.c_proj.weight"][units] /= factor


def move_first_position(
    tensors: Tensors, layer: str, factor: float, rng: np.random.Generator
) -> None:
    """Channels of the first position; once, with the first layer."""
    if layer.endswith("h.0"):
        positions = tensors[f"{layer[:-3]}wpe.weight"]
        step = 10 * factor * np.abs(positions).std()
        channels = rng.choice(positions.shape[1], 4, replace=False)
        positions[0, channels] += step * np.array([1, -1, 2, 1], np.float32)


Kind = Callable[[Tensors, str, float, np.random.Generator], None]
KINDS: Mapping[str, Kind] = {
    "ln": scale_norms,
    "v": scale_values,
    "k": scale_keys,
    "bias": move_channels,
    "mlp": scale_units,
    "pos0": move_first_position,
}


def _width(tensors: Tensors, layer: str) -> int:
    return len(tensors[f"{layer}.ln_1.weight"])


def _channels(tensors: Tensors, layer: str, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return rng.choice(_width(tensors, layer), 6, replace=False)


def _scale_columns(
    tensors: Tensors, name: str, columns: npt.NDArray[np.int64], factor: float
) -> None:
    tensors[f"{name}.weight"][:, columns] *= factor
    tensors[f"{name}.bias"][columns] *= factor


def make(source: Path, out: Path, kinds: str, factor: float) -> None:
    """Copy the checkpoint ``source`` to ``out``, with outliers of ``kinds``, such as "ln+v"."""
    shutil.copytree(source, out)
    stored = load_file(source / "model.safetensors")
    tensors = {name: values.astype(np.float32) for name, values in stored.items()}
    layers = [
        name.removesuffix(".ln_1.weight") for name in tensors if name.endswith(".ln_1.weight")
    ]
    for number, kind in enumerate(kinds.split("+")):
        rng = np.random.default_rng(number)
        for layer in layers:
            KINDS[kind](tensors, layer, factor, rng)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def rows(kinds: list[str], factors: list[float]) -> Iterator[tuple[str, float]]:
    """(kinds, factor) of each row."""
    for kind in kinds:
        yield from [(kind, 1.0)] if kind == "none" else [(kind, factor) for factor in factors]


def main() -> None:
    """Print a row for each kind and factor."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--corpora", type=Path, required=True)
    parser.add_argument("--kinds", nargs="+", default=["none", *KINDS, "ln+v", "mlp+pos0"])
    parser.add_argument("--factors", nargs="+", type=float, default=FACTORS)
    parser.add_argument("--cases", nargs="+", default=CASES, help="export options, one string each")
    parser.add_argument("--rounding", help="of int4; default: gptq, as outliers undo what the model was trained for", default="gptq")  # fmt: skip
    parser.add_argument("--length", type=int, default=256, help="tokens of a window")
    parser.add_argument("--windows", type=int, default=24)
    args = parser.parse_args()
    tokenizer = Tokenizer.from_file(args.checkpoint / "tokenizer.json")
    windows = held_out_windows(args.corpora, tokenizer, args.length)[-args.windows :]
    print("| outliers | float32 | " + " | ".join(args.cases) + " |")
    print("| --- " * (2 + len(args.cases)) + "|")
    for kinds, factor in rows(args.kinds, args.factors):
        with tempfile.TemporaryDirectory() as folder:
            source = args.checkpoint if kinds == "none" else Path(folder) / "source"
            if kinds != "none":
                make(args.checkpoint, source, kinds, factor)
            label = kinds if kinds == "none" else f"{kinds} x {factor:g}"
            print(f"| {label} |", end="", flush=True)
            reference = None
            for number, case in enumerate(["fp32", *args.cases]):
                out = Path(folder) / str(number)
                options = ["--rounding", args.rounding] if case.startswith("int4") else []
                try:
                    run_export(source, out, (*case.split(), *options))
                except subprocess.CalledProcessError:
                    print(" refused |", end="", flush=True)
                    continue
                got = engine_log_probabilities(out, windows)
                shutil.rmtree(out)
                if reference is None:
                    reference, base = got, perplexity(got, windows)
                    print(f" {base:.3f} |", end="", flush=True)
                    continue
                loss = perplexity(got, windows) / base - 1
                print(f" {loss:+.2%}, {mean_kl(reference, got):.1g} |", end="", flush=True)
            print(flush=True)


if __name__ == "__main__":
    main()
