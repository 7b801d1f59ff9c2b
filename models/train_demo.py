"""Train the demo checkpoints on public-domain fairy tales and novels.

    python models/train_demo.py CORPORA models/demo --layers 6 --heads 4 --steps 3600
    python models/train_demo.py CORPORA models/demo --start models/demo --steps 600 \
        --rounding-noise --rate-factor 0.3
    python models/train_demo.py CORPORA models/demo --start models/demo --steps 500 \
        --rounding --rate-factor 0.1
    python models/train_demo.py CORPORA models/demo --start models/demo --steps 500 \
        --rounding --distill --rate-factor 0.1
    python models/train_demo.py CORPORA models/demo-draft --layers 2 --heads 2 --steps 1500 \
        --tokenizer models/demo/tokenizer.json

CORPORA holds fairy_tales_clean.txt and novels_clean.txt. Needs torch, transformers, tokenizers and
matplotlib. The figures go to OUT/training.json; model_card.py makes OUT/README.md and OUT/loss.png from it.
"""

import argparse
import hashlib
import json
import math
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rounding_in_training import round_activations, rounded_weights
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import GPT2Config, GPT2LMHeadModel

END_OF_TEXT = "<|endoftext|>"
VOCAB_SIZE = 4352  # 256 bytes, 4095 merges, end-of-text
HEAD_DIM = 64
SEED = 20261123
HEADING = re.compile(r"\n\n(?=[A-Z][A-Z0-9 ,;:'\".!?()-]{6,}\n\n)")


def stories(text: str) -> list[str]:
    """Split at headings in capitals; title pages and tables of contents are dropped, because they are short."""
    return [piece.strip() for piece in HEADING.split(text) if len(piece) > 1500]


def split_corpora(folder: Path) -> tuple[list[str], list[str], dict[str, str]]:
    """(training stories, held-out fairy tales, sha256 of each file); every 20th fairy tale is held out."""
    texts = {
        name: (folder / name).read_text("utf-8")
        for name in ("fairy_tales_clean.txt", "novels_clean.txt")
    }
    hashes = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    tales = stories(texts["fairy_tales_clean.txt"])
    held_out = tales[10::20]
    return (
        [t for t in tales if t not in held_out] + stories(texts["novels_clean.txt"]),
        held_out,
        hashes,
    )


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """A byte-level BPE laid out like GPT-2's: bytes, merges, end-of-text last."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 1, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False)])
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """All texts as one row of ids, with end-of-text after each."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    rows = [[*encoding.ids, end] for encoding in tokenizer.encode_batch(texts)]
    return torch.tensor(np.concatenate([np.array(row) for row in rows]), dtype=torch.int64)


@torch.no_grad()
def held_out_loss(model: GPT2LMHeadModel, ids: torch.Tensor) -> float:
    """Mean negative log-likelihood in nats per token over disjoint full-context windows, in float32."""
    model.eval()
    length = model.config.n_positions
    windows = ids[: len(ids) // length * length].view(-1, length)
    losses = [float(model(w[None], labels=w[None]).loss) for w in windows]
    model.train()
    return float(np.mean(losses))


def optimizers(model: GPT2LMHeadModel, rate_factor: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and ".h." in n]
    others = [p for n, p in model.named_parameters() if not (p.ndim == 2 and ".h." in n)]
    return [
        torch.optim.Muon(
            matrices, lr=0.015 * rate_factor, weight_decay=0.05, adjust_lr_fn="original"
        ),
        torch.optim.AdamW(others, lr=2e-3 * rate_factor, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def adamw(model: GPT2LMHeadModel, rate_factor: float) -> list[torch.optim.Optimizer]:
    """AdamW for everything, without weight decay on norms and biases: as language models get outliers."""
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    groups = [
        {"params": matrices, "weight_decay": 0.1},
        {"params": others, "weight_decay": 0.0},
    ]
    return [torch.optim.AdamW(groups, lr=2e-3 * rate_factor, betas=(0.9, 0.95))]


def schedules(
    opts: list[torch.optim.Optimizer], steps: int, warm_up: int
) -> list[torch.optim.lr_scheduler.LRScheduler]:
    """Warm-up, then a cosine down to 1/50."""

    def rate(step: int) -> float:
        return min((step + 1) / warm_up, 0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))

    return [torch.optim.lr_scheduler.LambdaLR(optimizer, rate) for optimizer in opts]


@contextmanager
def rounding_noise(model: GPT2LMHeadModel, on: bool) -> Iterator[None]:
    """Add noise to the matrices of the blocks, as large as rounding to 4 bits in blocks of 64 can be.

    The noise is uniform within half a step. A small model that was trained without it loses much more to rounding
    than the large models that it stands for.
    """
    moved = []
    for name, weight in model.named_parameters():
        if on and weight.ndim == 2 and ".h." in name:
            blocks = weight.data.T.reshape(weight.shape[1], -1, 64)
            step = blocks.abs().amax(-1, keepdim=True) / 8
            noise = ((torch.rand_like(blocks) - 0.5) * step).reshape(weight.shape[1], -1).T
            weight.data += noise
            moved.append((weight, noise))
    yield
    for weight, noise in moved:
        weight.data -= noise


def divergence(
    logits: torch.Tensor, windows: torch.Tensor, teacher: GPT2LMHeadModel
) -> torch.Tensor:
    """KL(teacher || model) in nats a token."""
    with torch.no_grad():
        wanted = teacher(windows).logits
    ours, theirs = (v.float().log_softmax(-1).flatten(0, 1) for v in (logits, wanted))
    return torch.nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def train(
    model: GPT2LMHeadModel,
    ids: torch.Tensor,
    held_out: torch.Tensor,
    args: argparse.Namespace,
    first_step: int,
) -> list[dict[str, float]]:
    """Train on random full-context windows; returns step, mean training loss and held-out loss, every 100 steps."""
    steps, batch, length = args.steps, args.batch, model.config.n_positions
    generator = torch.Generator().manual_seed(SEED + first_step)
    opts = (adamw if args.adamw else optimizers)(model, args.rate_factor)
    rates = schedules(opts, steps, 30 if args.rounding else 100)
    teacher = deepcopy(model).eval() if args.distill else None
    if args.rounding:
        round_activations(model)
    compiled = torch.compile(model)
    curve, recent, started = [], [], time.time()
    for step in range(steps):
        starts = torch.randint(len(ids) - length, (batch,), generator=generator)
        windows = torch.stack([ids[s : s + length] for s in starts.tolist()])
        rounding = rounded_weights(model, step % 2 == 0) if args.rounding else None
        model.zero_grad()
        with rounding or rounding_noise(model, args.rounding_noise):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                output = compiled(windows, labels=windows)
                loss = divergence(output.logits, windows, teacher) if teacher else output.loss
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0 if args.adamw else 1.0)
        for optimizer in opts:
            optimizer.step()
        for schedule in rates:
            schedule.step()
        recent.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            point = {
                "step": first_step + step + 1,
                "train": float(np.mean(recent)),
                "held_out": held_out_loss(model, held_out[:8192]),
            }
            curve.append(point)
            recent = []
            print(point, f"{time.time() - started:.0f} s", flush=True)
    return curve


def with_positions(model: GPT2LMHeadModel, count: int) -> GPT2LMHeadModel:
    """The model with at least ``count`` position embeddings: those it has, again from the first on."""
    known = model.transformer.wpe.weight.data
    if count <= len(known):
        return model
    config = deepcopy(model.config)
    config.n_positions = count
    wider = GPT2LMHeadModel(config)
    weights = model.state_dict()
    weights["transformer.wpe.weight"] = known.repeat(-(-count // len(known)), 1)[:count]
    wider.load_state_dict(weights)
    return wider


def save(model: GPT2LMHeadModel, tokenizer: Tokenizer, out: Path) -> None:
    """Save in the Hugging Face layout, in float16."""
    model.half().save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))
    config = {"tokenizer_class": "GPT2Tokenizer", "model_max_length": model.config.n_positions}
    config |= dict.fromkeys(("bos_token", "eos_token", "unk_token"), END_OF_TEXT)
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    """Train, save, and write the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpora", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--positions", type=int, default=512, help="tokens of context, at least")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--start", type=Path, help="train this checkpoint further")
    parser.add_argument("--rounding-noise", action="store_true")
    parser.add_argument("--rounding", action="store_true", help="see rounding_in_training.py")
    parser.add_argument(
        "--distill",
        action="store_true",
        help="learn the distributions that the checkpoint gives before training, instead of the text",
    )
    parser.add_argument("--rate-factor", type=float, default=1.0)
    parser.add_argument(
        "--adamw", action="store_true", help="AdamW for everything: gives a model with outliers"
    )
    args = parser.parse_args()

    torch.manual_seed(SEED)
    train_texts, held_out_texts, hashes = split_corpora(args.corpora)
    known = args.start / "tokenizer.json" if args.start else args.tokenizer
    tokenizer = Tokenizer.from_file(str(known)) if known else train_tokenizer(train_texts)
    ids, held_out = encode(tokenizer, train_texts), encode(tokenizer, held_out_texts)
    end = tokenizer.token_to_id(END_OF_TEXT)
    config = GPT2Config(
        vocab_size=VOCAB_SIZE, n_positions=args.positions, n_embd=args.heads * HEAD_DIM, n_layer=args.layers,
        n_head=args.heads, bos_token_id=end, eos_token_id=end, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0,
    )  # fmt: skip
    model = GPT2LMHeadModel.from_pretrained(args.start) if args.start else GPT2LMHeadModel(config)
    model = with_positions(model, args.positions).float().train()
    if not args.rounding and hasattr(model.config, "int4_rounding"):
        del model.config.int4_rounding  # the new weights are not trained for it
    before = json.loads((args.start / "training.json").read_text()) if args.start else {}
    print(
        f"{model.num_parameters():,} parameters, {len(ids):,} training tokens, {len(held_out):,} held out",
        flush=True,
    )
    started = time.time()
    first_step = before.get("steps", 0)
    curve = before.get("curve", []) + train(model, ids, held_out, args, first_step)
    minutes = before.get("minutes", 0) + (time.time() - started) / 60
    figures = {
        "seed": SEED, "steps": first_step + args.steps, "batch": args.batch, "window": model.config.n_positions,
        "minutes": round(minutes, 1), "training_tokens": len(ids), "sha256": hashes, "curve": curve,
    }  # fmt: skip
    save(model, tokenizer, args.out)
    write_figures(args.out, figures, model, held_out, held_out_texts)


def write_figures(
    out: Path,
    figures: dict[str, Any],
    model: GPT2LMHeadModel,
    held_out: torch.Tensor,
    held_out_texts: list[str],
) -> None:
    """Write ``figures`` and the model's quality on all held-out text to training.json."""
    loss = held_out_loss(model.float(), held_out)
    byte_count = sum(len(text.encode()) for text in held_out_texts)
    quality = {
        "parameters": model.num_parameters(), "held_out_tokens": len(held_out), "held_out_loss": loss,
        "held_out_perplexity": math.exp(loss),
        "held_out_bits_per_byte": loss * len(held_out) / byte_count / math.log(2),
    }  # fmt: skip
    (out / "training.json").write_text(json.dumps(figures | quality, indent=1) + "\n")


if __name__ == "__main__":
    main()
