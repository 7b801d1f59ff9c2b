"""The texts that the demo checkpoints are trained on, their held-out parts and their tokenizer.

CORPORA holds fairy_tales_clean.txt, novels_clean.txt (for the tokenizer only), tinystories_sample_944KB.txt and the
folder stories with stories_public_domain.txt, easy_stories.json and tinystories_more.txt.
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

END_OF_TEXT = "<|endoftext|>"
VOCAB_SIZE = 4352  # 256 bytes, 4095 merges, end-of-text
HEADING = re.compile(r"\n\n(?=[A-Z][A-Z0-9 ,;:'\".!?()-]{6,}\n\n)")
TINY_OPENING = re.compile(r"\n(?=Once upon a time|One day,)")
# Whole books, as ranges of story numbers: Fifty Famous People, Friendly Fairies.
HELD_OUT_BOOKS = (range(440, 484), range(2196, 2210))
FILES = (
    "fairy_tales_clean.txt",
    "novels_clean.txt",
    "tinystories_sample_944KB.txt",
    "stories/stories_public_domain.txt",
    "stories/easy_stories.json",
    "stories/tinystories_more.txt",
)


@dataclass(frozen=True)
class Source:
    """Stories of one kind: those to train on, how often an epoch holds them, and held-out ones."""

    name: str
    training: list[str]
    repeats: int
    held_out: list[str]


def chapters(text: str) -> list[str]:
    """Split at headings in capitals; title pages and tables of contents are dropped, because they are short."""
    return [piece.strip() for piece in HEADING.split(text) if len(piece) > 1500]


def read(corpora: Path) -> list[Source]:
    """Easy stories, fairy tales and TinyStories."""
    pieces = (corpora / "stories" / "stories_public_domain.txt").read_text("utf-8")
    stories = pieces.split(f"\n{END_OF_TEXT}\n")
    easy: list[int] = json.loads((corpora / "stories" / "easy_stories.json").read_text())
    kept_back = {number for book in HELD_OUT_BOOKS for number in book}
    tales = chapters((corpora / "fairy_tales_clean.txt").read_text("utf-8"))
    tiny = (corpora / "stories" / "tinystories_more.txt").read_text("utf-8").split(END_OF_TEXT)
    more = TINY_OPENING.split((corpora / "tinystories_sample_944KB.txt").read_text("utf-8"))
    return [
        Source(
            "easy stories",
            [stories[n].strip() for n in easy if n not in kept_back],
            1,
            [stories[n].strip() for n in easy if n in kept_back],
        ),
        Source("fairy tales", [t for n, t in enumerate(tales) if n % 20 != 10], 1, tales[10::20]),
        Source(
            "TinyStories",
            [t.strip() for n, t in enumerate(tiny) if n % 30 and t.strip()]
            + [t.strip() for t in more],
            3,
            [t.strip() for t in tiny[::30] if t.strip()],
        ),
    ]


def hashes(corpora: Path) -> dict[str, str]:
    """The sha256 of each file."""
    return {name: hashlib.sha256((corpora / name).read_bytes()).hexdigest() for name in FILES}


def train_tokenizer(corpora: Path) -> Tokenizer:
    """A byte-level BPE laid out like GPT-2's: bytes, merges, end-of-text last; from tales and novels."""
    tales = chapters((corpora / "fairy_tales_clean.txt").read_text("utf-8"))
    held_out = tales[10::20]
    novels = chapters((corpora / "novels_clean.txt").read_text("utf-8"))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 1, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([*(t for t in tales if t not in held_out), *novels], trainer)
    tokenizer.add_special_tokens([AddedToken(END_OF_TEXT, normalized=False)])
    return tokenizer


class Windows:
    """Windows of consecutive tokens of one source; every second one begins where a story begins."""

    def __init__(self, tokenizer: Tokenizer, texts: list[str], rng: np.random.Generator) -> None:
        """Encode ``texts`` in random order, with end-of-text after each."""
        shuffled = [texts[n] for n in rng.permutation(len(texts))]
        end = tokenizer.token_to_id(END_OF_TEXT)
        rows = [[*encoding.ids, end] for encoding in tokenizer.encode_batch(shuffled)]
        self.ids = torch.tensor(np.concatenate([np.array(row) for row in rows]))
        self._beginnings = np.cumsum([0, *(len(row) for row in rows[:-1])])

    def draw(self, length: int, rng: np.random.Generator) -> torch.Tensor:
        """One window of ``length`` ids."""
        last = len(self.ids) - length
        start = rng.choice(self._beginnings) if rng.random() < 0.5 else rng.integers(last + 1)
        start = min(int(start), last)
        return self.ids[start : start + length]


class Mixture:
    """Batches of windows from several sources, each in proportion to its tokens times its repeats."""

    def __init__(self, tokenizer: Tokenizer, sources: list[Source]) -> None:
        """Encode the training texts of ``sources``."""
        rng = np.random.default_rng(0)
        self._windows = [Windows(tokenizer, source.training, rng) for source in sources]
        sizes = [len(w.ids) * s.repeats for w, s in zip(self._windows, sources, strict=True)]
        self._shares = np.array(sizes) / sum(sizes)
        self.tokens = sum(len(windows.ids) for windows in self._windows)

    def batch(self, rows: int, length: int, step: int) -> torch.Tensor:
        """``[rows, length]`` ids; a step always gets the same ones."""
        rng = np.random.default_rng([1, step])
        chosen = rng.choice(len(self._windows), rows, p=self._shares)
        return torch.stack([self._windows[n].draw(length, rng) for n in chosen])


def encode(tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """All texts as one row of ids, with end-of-text after each."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    rows = [[*encoding.ids, end] for encoding in tokenizer.encode_batch(texts)]
    return torch.tensor(np.concatenate([np.array(row) for row in rows]), dtype=torch.int64)
