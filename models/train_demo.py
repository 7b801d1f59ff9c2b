"""Train the demo checkpoints on public-domain stories and TinyStories.

    python models/train_demo.py CORPORA models/demo
    python models/train_demo.py CORPORA models/demo-draft --layers 2 --heads 2 --steps 900 \
        --cooldown 300 --teacher models/demo

story_texts.py says what CORPORA holds. Needs torch and transformers. Training goes on where it was stopped: its state is
in OUT.state.pt. The learning rate is constant and falls to 0 in the last ``--cooldown`` steps. In these the context has
its full length and weights are rounded as the exporter rounds them (rounding_in_training.py). The figures go to
OUT/training.json; model_card.py makes OUT/README.md and OUT/loss.png from it.
"""

import argparse
import json
import math
import os
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rounding_in_training import BLOCK, round_activations, rounded_weights
from story_texts import (
    END_OF_TEXT,
    VOCAB_SIZE,
    Mixture,
    Source,
    encode,
    hashes,
    read,
    train_tokenizer,
)
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

HEAD_DIM = 64
SEED = 20261128
WARM_UP = 100
SAVE_EVERY = 100
TEMPERATURE = 0.7  # goes to generation_config.json: at 1, so small a model loses the thread


@dataclass
class Progress:
    """What a run has done so far."""

    step: int = 0
    seconds: float = 0.0
    curve: list[dict[str, float]] = field(default_factory=list)


@torch.no_grad()
def held_out_loss(model: GPT2LMHeadModel, ids: torch.Tensor) -> float:
    """Mean negative log-likelihood in nats per token over disjoint full-context windows, in float32."""
    model.eval()
    length = model.config.n_positions
    windows = ids[: len(ids) // length * length].view(-1, length)
    losses = [float(model(w[None], labels=w[None]).loss) for w in windows]
    model.train()
    return float(np.mean(losses))


def optimizers(model: GPT2LMHeadModel) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and ".h." in n]
    others = [p for n, p in model.named_parameters() if not (p.ndim == 2 and ".h." in n)]
    return [
        torch.optim.Muon(matrices, lr=0.015, weight_decay=0.05, adjust_lr_fn="original"),
        torch.optim.AdamW(others, lr=2e-3, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def adamw(model: GPT2LMHeadModel) -> list[torch.optim.Optimizer]:
    """AdamW for everything, without weight decay on norms and biases: as language models get outliers."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": others, "weight_decay": 0.0},
    ]
    return [torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.95))]


def rate(step: int, args: argparse.Namespace) -> float:
    """The factor of the learning rate: it rises, stays, and falls to 0 in the cooldown."""
    left = (args.steps - step) / args.cooldown
    return min((step + 1) / WARM_UP, 1.0, float(left))


def divergence(
    logits: torch.Tensor, windows: torch.Tensor, teacher: GPT2LMHeadModel
) -> torch.Tensor:
    """KL(teacher || model) in nats a token."""
    with torch.no_grad():
        wanted = teacher(windows).logits
    ours, theirs = (v.float().log_softmax(-1).flatten(0, 1) for v in (logits, wanted))
    return torch.nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)


class Trainer:
    """A model in training, which can be stopped and resumed between any two steps."""

    def __init__(self, model: GPT2LMHeadModel, mixture: Mixture, args: argparse.Namespace) -> None:
        """Take up the state in OUT.state.pt, if there is one."""
        self.model, self.mixture, self.args = model, mixture, args
        self.progress = Progress()
        self._optimizers = (adamw if args.adamw else optimizers)(model)
        self._rates = [[g["lr"] for g in o.param_groups] for o in self._optimizers]
        self._state = Path(f"{args.out}.state.pt")
        self._teacher = (
            GPT2LMHeadModel.from_pretrained(args.teacher).float().eval() if args.teacher else None
        )
        if self._state.exists():
            self._resume()
        self._compiled: Any = None

    def _resume(self) -> None:
        state = torch.load(self._state)
        self.model.load_state_dict(state["model"])
        for optimizer, values in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        self.progress = Progress(**state["progress"])

    def save_state(self) -> None:
        """Write everything that the next step depends on."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "progress": vars(self.progress),
        }
        aside = self._state.with_suffix(".tmp")
        torch.save(state, aside)
        os.replace(aside, self._state)

    def run(self, held_out: dict[str, torch.Tensor]) -> None:
        """Train to the last step; every 100 steps the losses go to the curve and the state to disk."""
        recent: list[float] = []
        while self.progress.step < self.args.steps:
            started = time.monotonic()
            recent.append(self._step(self.progress.step))
            self.progress.step += 1
            self.progress.seconds += time.monotonic() - started
            if self.progress.step % SAVE_EVERY == 0 or self.progress.step == self.args.steps:
                losses = {
                    name: held_out_loss(self.model, ids[:8192]) for name, ids in held_out.items()
                }
                point = {"step": self.progress.step, "train": float(np.mean(recent)), **losses}
                self.progress.curve.append(point)
                recent = []
                self.save_state()
                print(json.dumps(point), f"{self.progress.seconds:.0f} s", flush=True)

    def _step(self, step: int) -> float:
        args, length = self.args, self.model.config.n_positions
        cooling = step >= args.steps - args.cooldown
        if self._compiled is None or (step == args.steps - args.cooldown and not args.adamw):
            if cooling and not args.adamw:
                round_activations(self.model)
            self._compiled = torch.compile(self.model)
        # Half a context costs less; every second batch lies in the second half of the positions.
        if cooling:
            windows, first = self.mixture.batch(args.batch, length, step), 0
        else:
            windows = self.mixture.batch(2 * args.batch, length // 2, step)
            first = step % 2 * (length // 2)
        positions = torch.arange(first, first + windows.shape[1])[None]
        rounding = (
            rounded_weights(self.model, step % 2 == 0)
            if cooling and not args.adamw
            else nullcontext()
        )
        self.model.zero_grad()
        with rounding:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                output = self._compiled(windows, position_ids=positions, labels=windows)
                loss = (
                    divergence(output.logits, windows, self._teacher)
                    if self._teacher
                    else output.loss
                )
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 10.0 if args.adamw else 1.0)
        for optimizer, rates in zip(self._optimizers, self._rates, strict=True):
            for group, full in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = full * rate(step, args)
            optimizer.step()
        return float(loss.item())


def save(model: GPT2LMHeadModel, tokenizer: Tokenizer, out: Path) -> None:
    """Save in the Hugging Face layout, in float16."""
    model.half().save_pretrained(out)
    # Without do_sample, which transformers would prefer to a caller's GenerationConfig(do_sample=False).
    generation = json.loads((out / "generation_config.json").read_text())
    generation["temperature"] = TEMPERATURE
    (out / "generation_config.json").write_text(
        json.dumps(generation, indent=2, sort_keys=True) + "\n"
    )
    tokenizer.save(str(out / "tokenizer.json"))
    config = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": model.config.n_positions}
    config |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def quality(
    model: GPT2LMHeadModel, sources: list[Source], held_out: dict[str, torch.Tensor]
) -> dict[str, dict[str, float]]:
    """Perplexity per token and bits per byte on the held-out texts of each source."""
    figures = {}
    for source in sources:
        ids = held_out[source.name]
        loss = held_out_loss(model, ids)
        byte_count = sum(len(text.encode()) for text in source.held_out)
        figures[source.name] = {
            "tokens": len(ids),
            "perplexity": math.exp(loss),
            "bits_per_byte": loss * len(ids) / byte_count / math.log(2),
        }
    return figures


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpora", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=5)
    parser.add_argument("--positions", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=3500)
    parser.add_argument("--cooldown", type=int, default=500, help="the last of these steps")
    parser.add_argument("--batch", type=int, default=8, help="windows of full length a step")
    parser.add_argument("--teacher", type=Path, help="learn the distributions of this checkpoint")
    parser.add_argument(
        "--adamw",
        action="store_true",
        help="AdamW for everything and no rounding: gives a model with outliers",
    )
    return parser.parse_args()


def main() -> None:
    """Train, save, and write the figures."""
    args = arguments()
    torch.manual_seed(SEED)
    sources = read(args.corpora)
    tokenizer = train_tokenizer(args.corpora)
    end = tokenizer.token_to_id(END_OF_TEXT)
    config = GPT2Config(
        vocab_size=VOCAB_SIZE, n_positions=args.positions, n_embd=args.heads * HEAD_DIM, n_layer=args.layers,
        n_head=args.heads, bos_token_id=end, eos_token_id=end, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    trainer = Trainer(GPT2LMHeadModel(config).train(), Mixture(tokenizer, sources), args)
    model, tokens = trainer.model, trainer.mixture.tokens
    print(f"{model.num_parameters():,} parameters, {tokens:,} training tokens", flush=True)
    held_out = {source.name: encode(tokenizer, source.held_out) for source in sources}
    trainer.run(held_out)
    figures = {
        "seed": SEED, "steps": args.steps, "cooldown": args.cooldown, "batch": args.batch,
        "window": args.positions, "minutes": round(trainer.progress.seconds / 60, 1),
        "parameters": model.num_parameters(), "training_tokens": tokens, "sha256": hashes(args.corpora),
        "held_out": quality(model, sources, held_out), "curve": trainer.progress.curve,
    }  # fmt: skip
    if not args.adamw:
        model.config.int4_rounding = {"method": "nearest", "block_size": BLOCK}
    save(model, tokenizer, args.out)
    (args.out / "training.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
