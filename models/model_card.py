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
{n_positions}, vocabulary {vocab_size}) that writes children's stories: the {purpose} of
gpt2xl. It is in float16, in the Hugging Face layout, and also loads in transformers.

## How it was made

- Text: the easiest stories of 172 children's books and 14 books of fairy tales from Project Gutenberg, in the public
  domain in the USA (some authors died after 1955, so not everywhere), and pieces of TinyStories (Eldan and Li, 2023,
  arXiv 2305.07759; CDLA-Sharing-1.0, which leaves results of computing on the data free). {training_tokens:,} training
  tokens; an epoch holds TinyStories three times. `models/story_texts.py` says what was held out. The text itself is not
  in this repository. sha256:
{hashes}
- Tokenizer: a byte-level BPE with 4095 merges, trained on the fairy tales and the novels.
- {steps} steps of {batch_tokens:,} tokens, Muon for the matrices of the blocks and AdamW for the rest, seed {seed},
  bfloat16 autocast, {minutes} minutes on 2 CPU cores shared with other work. Until the last {cooldown} steps windows have
  half the context, in its first or its second half, and the learning rate is constant:

  ```sh
  {command}
  ```

- The last {cooldown} steps have windows of {window} tokens, a learning rate that falls to 0, and are
  quantization-aware: matrices rounded to 4 bits (to the nearest code, or at random to a neighbouring one), embedding and
  head to 8 bits, the input of each matrix product to 7 bits with one scale a token, straight-through gradients. The
  stored weights are not rounded. This model therefore loses less to rounding than one trained without it. Held-out loss
  falls where they begin, since it is that of whole contexts.{remark}
- `generation_config.json` sets temperature 0.7. At 1 so small a model loses the thread.
{teacher}- Held-out text, in windows of the full context, float16 weights:

  | text | tokens | perplexity | bits a byte |
  | --- | --- | --- | --- |
{held_out}

![Loss](loss.png)

## Limits

It knows only the words, people and prejudices of children's books of 1865 to 1930 and of machine-written stories. Its
texts are fiction. Use it only to try out software.
"""
PURPOSES = {
    "demo": "built-in demo",
    "demo-draft": "small sibling of the built-in demo, with its tokenizer, for speculative decoding",
}
COMMANDS = {
    "demo": "python models/train_demo.py CORPORA models/demo",
    "demo-draft": "python models/train_demo.py CORPORA models/demo-draft --layers 2 --heads 2 --steps 900"
    " --cooldown 300 --teacher models/demo",
}
# What the shipped run did otherwise than its command.
REMARKS = {
    "demo": " In the shipped run the\n  learning rate fell to 0.9 in the first 100 of these steps, not to 0.8.",
}
TEACHER = (
    "- It learned to give the distributions that the demo gives (KL divergence), not the text.\n"
)


def draw(curve: list[dict[str, float]], loss: str, path: Path) -> None:
    """Draw the training ``loss`` and those of held-out texts over the steps."""
    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    steps = [point["step"] for point in curve]
    for name in curve[0]:
        if name != "step":
            label = f"{loss}, mean of 100 steps" if name == "train" else f"held-out {name}"
            axes.plot(steps, [point[name] for point in curve], label=label)
    axes.set(xlabel="step", ylabel="loss, nats a token", ylim=(0, 6))
    axes.legend()
    figure.savefig(path, dpi=100)


def main() -> None:
    """Draw loss.png and write README.md."""
    out = Path(sys.argv[1])
    is_distilled = "teacher" in COMMANDS[out.name]
    figures: dict[str, Any] = json.loads((out / "training.json").read_text())
    config = json.loads((out / "config.json").read_text())
    draw(figures["curve"], "KL to the demo" if is_distilled else "training", out / "loss.png")
    words = {
        "name": out.name,
        "purpose": PURPOSES[out.name],
        "command": COMMANDS[out.name],
        "teacher": TEACHER if is_distilled else "",
        "batch_tokens": figures["batch"] * figures["window"],
        "hashes": "\n".join(f"  - {name}: `{sha}`" for name, sha in figures["sha256"].items()),
        "remark": REMARKS.get(out.name, ""),
        "held_out": "\n".join(
            f"  | {name} | {f['tokens']:,} | {f['perplexity']:.2f} | {f['bits_per_byte']:.3f} |"
            for name, f in figures["held_out"].items()
        ),
    }
    (out / "README.md").write_text(CARD.format(**(config | figures | words)))


if __name__ == "__main__":
    main()
