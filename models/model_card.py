"""Write README.md and loss.png of a demo checkpoint from its training.json.

python models/model_card.py models/demo
"""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

CARD = """\
---
license: mit
language: en
pipeline_tag: text-generation
---

# {name}

A GPT-2 of {parameters:,} parameters ({n_layer} layers, {n_head} heads, {n_embd} wide, context
{n_positions}, vocabulary {vocab_size}) that writes fairy tales: the {purpose} of
gpt2xl. It is in float16, in the Hugging Face layout, and also loads in transformers.

## How it was made

- Text: 14 books of fairy tales (Lang, Grimm, Andersen, Jacobs) and 12 novels from Project Gutenberg, in
  the public domain in the US; every 20th tale was held out. {training_tokens:,} training tokens. The
  text itself is not in this repository. sha256:
{hashes}
- Tokenizer: a byte-level BPE with 4095 merges, trained on the same text.
- {steps} steps of {batch} windows of {window} tokens, Muon for the matrices of the blocks and AdamW for the rest, seed
  {seed}, bfloat16 autocast, {minutes} minutes on 2 CPU cores shared with other work:

  ```sh
{commands}
  ```
{noise}- Held-out tales, {held_out_tokens:,} tokens in windows of the full context, float16 weights: loss
  {held_out_loss:.4f} nats a token, **perplexity {held_out_perplexity:.2f}**, {held_out_bits_per_byte:.3f} bits a byte.

![Loss](loss.png)

## Limits

It knows only the words, people and prejudices of books from 1865 to 1911. Its texts are fiction. Use it only to
try out software.
"""
TRAIN = "  python models/train_demo.py CORPORA models/"
COMMANDS = {
    "demo": f"{TRAIN}demo --layers 6 --heads 4 --steps 3600\n"
    f"{TRAIN}demo --start models/demo --steps 600 --rounding-noise --rate-factor 0.3\n"
    f"{TRAIN}demo --start models/demo --steps 500 --rounding --rate-factor 0.1\n"
    f"{TRAIN}demo --start models/demo --steps 500 --rounding --distill --rate-factor 0.1",
    "demo-draft": f"{TRAIN}demo-draft --layers 2 --heads 2 --steps 1500"
    " --tokenizer models/demo/tokenizer.json",
}
NOISE = """\
- In steps 3601 to 4200, uniform noise as large as rounding to 4 bits can be was added to the matrices of the blocks.
- The next 500 steps were quantization-aware: matrices rounded to 4 bits (to the nearest code, or at random to a
  neighbouring one), embedding and head to 8 bits, the input of each matrix product to 7 bits with one scale a token,
  straight-through gradients. (The shipped run of this stage drew its windows with seed 5, and its learning rate fell
  to 1/100.)
- In the last 500 steps the model, rounded in the same ways, learned to give the distributions that it gave before them.
  (The shipped run used an earlier script for this, which was not kept; its learning rate is not known.) The stored
  weights are not rounded. This model therefore loses much less to rounding than one that was trained without these
  stages.
"""
PURPOSES = {
    "demo": "built-in demo",
    "demo-draft": "small sibling of the built-in demo, with its tokenizer, for speculative decoding",
}


def draw(curve: list[dict[str, float]], path: Path) -> None:
    """Draw the loss curve."""
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    steps = [point["step"] for point in curve]
    axes.plot(steps, [point["train"] for point in curve], label="training, mean of 100 steps")
    axes.plot(steps, [point["held_out"] for point in curve], label="held-out tales")
    axes.set(xlabel="step", ylabel="loss, nats a token")
    axes.legend()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Draw loss.png and write README.md."""
    out = Path(sys.argv[1])
    figures: dict[str, Any] = json.loads((out / "training.json").read_text())
    config = json.loads((out / "config.json").read_text())
    hashes = "\n".join(f"  - {name}: `{digest}`" for name, digest in figures["sha256"].items())
    draw(figures["curve"], out / "loss.png")
    names = {
        "name": out.name,
        "commands": COMMANDS[out.name],
        "noise": NOISE if out.name == "demo" else "",
        "purpose": PURPOSES[out.name],
    }
    card = CARD.format(**(config | figures | names | {"hashes": hashes}))
    (out / "README.md").write_text(card)


if __name__ == "__main__":
    main()
