"""The demo in the shape of GPT-2 XL: a checkpoint with the cost of GPT-2 XL that writes real text.

    python models/wide_demo.py CORPORA OUT --steps 250

Padding with zeros would change the mean that LayerNorm takes over the features. So the demo is trained further while
whatever is written to the residual stream is kept centred: zeros then leave the mean as it is and change the variance by
a known factor. Finally all matrices are padded with zeros; layers that the demo does not have add nothing. Needs torch
and transformers.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file
from story_texts import Mixture, read
from transformers import GPT2LMHeadModel

MODELS = Path(__file__).parent
VOCABULARY, POSITIONS, WIDTH, LAYERS, HEADS = 50257, 1024, 1600, 48, 25
SILENT = -30.0  # the logit of ids that the demo does not have
Array = npt.NDArray[np.float32]


@torch.no_grad()
def centre(model: GPT2LMHeadModel) -> None:
    """Subtract the mean over features from everything that is written to the residual stream."""
    for name, weight in model.named_parameters():
        if name.endswith(("wte.weight", "wpe.weight", "c_proj.weight", "c_proj.bias")):
            weight.sub_(weight.mean(-1, keepdim=True))


def train(model: GPT2LMHeadModel, mixture: Mixture, steps: int) -> None:
    """Train on random windows of POSITIONS tokens, with a learning rate that falls to almost 0."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, steps)
    centre(model)
    compiled = torch.compile(model)
    for step in range(steps):
        windows = mixture.batch(4, POSITIONS, step)
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = compiled(windows, labels=windows).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        centre(model)
        if step % 25 == 0 or step + 1 == steps:
            print(f"step {step + 1}: {loss.item():.3f} nats a token", file=sys.stderr, flush=True)


def widened(weights: dict[str, Array]) -> dict[str, Array]:
    """The demo's ``weights`` in the shape of GPT-2 XL."""
    width = weights["wte.weight"].shape[1]
    shrunk = (width / WIDTH) ** 0.5  # factor by which the zeros reduce the standard deviation
    rng = np.random.default_rng(0)
    result = {
        "wte.weight": padded(weights["wte.weight"], VOCABULARY, WIDTH),
        "wpe.weight": padded(weights["wpe.weight"], POSITIONS, WIDTH),
        "ln_f.weight": padded(weights["ln_f.weight"] * shrunk, WIDTH),
        "ln_f.bias": padded(weights["ln_f.bias"], WIDTH),
    }
    result["ln_f.bias"][-1] = 1
    result["wte.weight"][len(weights["wte.weight"]) :, -1] = SILENT
    shapes = {"attn.c_attn": (WIDTH, 3 * WIDTH), "attn.c_proj": (WIDTH, WIDTH)}
    shapes |= {"mlp.c_fc": (WIDTH, 4 * WIDTH), "mlp.c_proj": (4 * WIDTH, WIDTH)}
    for layer in range(LAYERS):
        is_used = f"h.{layer}.ln_1.weight" in weights
        for norm in (f"h.{layer}.ln_1", f"h.{layer}.ln_2"):
            gain = weights[f"{norm}.weight"] * shrunk if is_used else np.ones(0, np.float32)
            result[f"{norm}.weight"] = padded(gain, WIDTH)
            result[f"{norm}.bias"] = padded(weights.get(f"{norm}.bias", gain), WIDTH)
        for name, (n_in, n_out) in shapes.items():
            full = f"h.{layer}.{name}"
            # Almost zero in unused layers: a matrix of zeros has no scale to quantize with.
            weight = rng.normal(0, 1e-6, (n_in, n_out)).astype(np.float32)
            bias = np.zeros(n_out, np.float32)
            if is_used:
                parts = 3 if name == "attn.c_attn" else 1
                for part in range(parts):
                    block = np.split(weights[f"{full}.weight"], parts, 1)[part]
                    at = slice(part * WIDTH, part * WIDTH + block.shape[1])
                    weight[: block.shape[0], at] = block
                    bias[at] = np.split(weights[f"{full}.bias"], parts)[part]
            result |= {f"{full}.weight": weight, f"{full}.bias": bias}
    return result


def padded(values: Array, *shape: int) -> Array:
    """Padded with zeros at the end of each axis, to ``shape``."""
    more = [(0, wanted - have) for wanted, have in zip(shape, values.shape, strict=True)]
    return np.pad(values, more)


def main() -> None:
    """Train, widen, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=250)
    args = parser.parse_args()
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(MODELS / "demo" / "tokenizer.json"))
    model: GPT2LMHeadModel = GPT2LMHeadModel.from_pretrained(MODELS / "demo").float().train()
    train(model, Mixture(tokenizer, read(args.corpora)), args.steps)
    weights = {
        name.removeprefix("transformer."): weight.detach().numpy()
        for name, weight in model.named_parameters()
    }
    config = json.loads((MODELS / "demo" / "config.json").read_text())
    ratio = config["n_embd"] / WIDTH
    config |= {"n_embd": WIDTH, "n_head": HEADS, "n_layer": LAYERS, "n_positions": POSITIONS}
    config |= {"vocab_size": VOCABULARY, "layer_norm_epsilon": config["layer_norm_epsilon"] * ratio}
    config["int4_rounding"] = {"method": "nearest", "block_size": 32}
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copy(MODELS / "demo" / name, args.out)
    half = {name: values.astype(np.float16) for name, values in widened(weights).items()}
    save_file(half, args.out / "model.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
