"""Which files are damaged, how, and which commands read them."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.fuzz.bases import BATCH, HAS_TORCH, PROMPT
from tests.fuzz.damages.damage import Damage
from tests.fuzz.damages.json_damage import JSON
from tests.fuzz.damages.lines_damage import INPUT, PART, ends, line, order
from tests.fuzz.damages.npz_damage import NPZ, RARE_NPZ
from tests.fuzz.damages.onnx_damage import ONNX
from tests.fuzz.damages.tokenizer_damage import MERGES, TOKENIZER, VOCABULARY
from tests.fuzz.damages.weights_damage import RAW, SAFETENSORS

MANIFEST = "gpt2xl.json"
DATA = (
    ("lambada", "lambada_test.jsonl", (line, order, ends)),
    ("cbt-ne", "cbtest_NE_valid_2000ex.txt", (order,)),
    ("multiple-choice", "choices.jsonl", (line, order, ends)),
    ("blimp", "pairs.jsonl", (line, order, ends)),
    ("wikitext2", "wiki.test.tokens", (order,)),
)
"""Task of `gpt2xl eval`, the file that it reads, and damages."""


class Command(NamedTuple):
    """The arguments of `gpt2xl`, and what its output has to be."""

    words: tuple[str, ...]
    reads: str
    """The name of a check of ``outcome.py``."""
    like: tuple[str, ...] = ()
    """The arguments that give the same output with undamaged files; empty if there are none."""


Commands = Callable[[Random, Path, Path], Iterator[Command]]
"""(rng, damaged copy, folder of undamaged files) -> commands, each made when the one before is done."""


@dataclass(frozen=True)
class Kind:
    """A file, its damages, and the commands that read it."""

    base: str
    """Its folder."""
    file: str
    share: int
    """Share of all cases."""
    damages: tuple[Damage, ...]
    commands: Commands
    unread: bool = False
    """Whether no command reads it, so that a damage must not change a text."""
    rare: tuple[Damage, ...] = field(default=())

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.base}/{self.file}"


def generate(rng: Random, model: Path, *more: str, like: Path | None = None) -> Command:
    """Generate a few tokens with ``model``; the undamaged ``like`` has to give the same."""
    draw = ("--greedy",) if rng.random() < 0.5 else ("--seed", "3", "--top-k", rng.choice("05"))
    options = (*draw, "-n", "3", "--threads", "1")
    as_json = ("--json",) if "--json" in more else ()
    whole = ("generate", PROMPT, "-m", str(like), *options, *as_json) if like else ()
    words = ("generate", PROMPT, "-m", str(model), *options, *more)
    return Command(words, "json" if as_json else "text", whole)


def bundle_commands(rng: Random, copy: Path, bases: Path) -> Iterator[Command]:
    like: Path | None = bases / copy.name
    if rng.random() < 0.3:
        yield Command(("info", str(copy), "--json"), "info_json")
    else:
        yield Command(("info", str(copy)), "info")
    if rng.random() < 0.15:  # the portable graph
        for path in (copy / "onnx").glob("engine*.onnx"):
            path.rename(path.with_suffix(".away"))
        if not (copy / MANIFEST).is_dir() or (copy / MANIFEST).is_symlink():
            (copy / MANIFEST).unlink(missing_ok=True)
        like = like if copy.name == "bundle" else None  # its cache is in floats there
    as_json = ["--json"] if rng.random() < 0.5 else []
    yield generate(rng, copy, *as_json, like=like)
    if rng.random() < 0.05:
        yield Command(("verify", str(copy), *as_json), "verify")
    if rng.random() < 0.04:
        yield _batch(bases / "batch/in.jsonl", copy.parent / "out.jsonl", copy, bases)


def _batch(source: Path, out: Path, model: Path, bases: Path) -> Command:
    words = ("batch", str(source), str(out), "-m", str(model), *BATCH)
    whole = ("batch", str(bases / "batch/in.jsonl"), f"{out}.whole", "-m", str(bases / "bundle"))
    return Command(words, "batch", (*whole, *BATCH) if model.name == "bundle" else ())


def tokenizer_commands(rng: Random, copy: Path, bases: Path) -> Iterator[Command]:
    text = rng.choice(("Once upon a time<|endoftext|>", "a" * 60, "é 日本\n\n  x 12", ""))
    special = ["--no-special"] if rng.random() < 0.3 else []
    command = ("tokenize", text, "--json", *special, "-m")
    yield Command((*command, str(copy)), "ids", (*command, str(bases / copy.name)))
    command = ("detokenize", "286", "72", "200", "-m")
    yield Command((*command, str(copy)), "text", (*command, str(bases / copy.name)))
    yield from bundle_commands(rng, copy, bases)


def checkpoint_commands(rng: Random, copy: Path, bases: Path) -> Iterator[Command]:
    out = copy.parent / "exported"
    precision = ["-p", rng.choice(("int8", "int8-weight", "fp16", "int4"))] if rng.random() < 0.04 else []  # fmt: skip
    yield Command(("export", str(copy), str(out), *precision), "export")
    yield from _exported(rng, out, None if precision else bases / "bundle")


def adapter_commands(rng: Random, copy: Path, bases: Path) -> Iterator[Command]:
    out = copy.parent / "exported"
    words = ("export", str(bases / "checkpoint"), str(out), "--adapter", str(copy))
    yield Command(words, "export")
    yield from _exported(rng, out, None)


def _exported(rng: Random, out: Path, like: Path | None) -> Iterator[Command]:
    if out.is_dir():
        yield Command(("info", str(out)), "info")
        yield generate(rng, out, like=like)


def cache_commands(rng: Random, copy: Path, bases: Path) -> Iterator[Command]:
    more = ["--json"] if rng.random() < 0.5 else []
    cache = str(copy / "prompt.npz")
    yield generate(rng, bases / "bundle", "--prompt-cache", cache, *more, like=bases / "bundle")


def batch_commands(rng: Random, copy: Path, bases: Path) -> Iterator[Command]:
    yield _batch(copy / "in.jsonl", copy / "out.jsonl", bases / "bundle", bases)


def input_commands(rng: Random, copy: Path, bases: Path) -> Iterator[Command]:
    (copy / "out.jsonl.part").unlink()  # of another input
    yield from batch_commands(rng, copy, bases)


def eval_commands(task: str, file: str) -> Commands:
    """`gpt2xl eval` of ``task``."""

    def commands(_: Random, copy: Path, bases: Path) -> Iterator[Command]:
        data = ("eval", task, "--data", str(copy / file), "--context", "40", "--limit", "3")
        journal = ("--journal", str(copy.parent / "journal.jsonl"))
        yield Command((*data, "-m", str(bases / "bundle"), "--json", *journal), "eval")

    return commands


def kinds() -> list[Kind]:
    """All kinds of files."""
    bundle, tokens, source = bundle_commands, tokenizer_commands, checkpoint_commands
    found = [
        Kind("bundle", MANIFEST, 10, JSON, bundle),
        Kind("int8", MANIFEST, 2, JSON, bundle),
        Kind("bundle", "config.json", 8, JSON, bundle),
        Kind("bundle", "generation_config.json", 4, JSON, bundle),
        Kind("bundle", "tokenizer.json", 10, (*JSON[:5], *TOKENIZER), tokens),
        Kind("bundle", "tokenizer_config.json", 1, JSON, bundle),
        Kind("bundle", "genai_config.json", 1, JSON, bundle, unread=True),
        Kind("bundle", "README.md", 1, (), bundle, unread=True),
        Kind("bundle", "onnx/engine.onnx", 10, ONNX, bundle),
        Kind("bundle", "onnx/model.onnx", 6, ONNX, bundle),
        Kind("bundle", "onnx/model.onnx_data", 3, RAW, bundle),
        Kind("int8", "onnx/engine_int8.onnx", 4, ONNX, bundle),
        Kind("int8", "onnx/model_int8.onnx_data", 2, RAW, bundle),
        Kind("prompt", "prompt.npz", 10, NPZ, cache_commands, rare=RARE_NPZ),
        Kind("batch", "in.jsonl", 5, INPUT, input_commands),
        Kind("batch", "out.jsonl.part", 5, PART, batch_commands),
        Kind("checkpoint", "config.json", 4, JSON, source),
        Kind("checkpoint", "model.safetensors", 5, SAFETENSORS, source),
        Kind("checkpoint", "tokenizer.json", 3, (*JSON[:5], *TOKENIZER), source),
        Kind("checkpoint", "tokenizer_config.json", 2, JSON, source),
        Kind("checkpoint", "special_tokens_map.json", 1, JSON, source),
        Kind("checkpoint", "generation_config.json", 1, JSON, source),
        Kind("checkpoint", "README.md", 1, (), source),
        Kind("slow", "vocab.json", 2, (*JSON[:4], *VOCABULARY), source),
        Kind("slow", "merges.txt", 2, MERGES, source),
        Kind("slow", "added_tokens.json", 2, JSON, source),
        Kind("slow", "tokenizer_config.json", 1, JSON, source),
        Kind("slow", "special_tokens_map.json", 1, JSON, source),
        Kind("slow", "model.safetensors.index.json", 2, JSON, source),
        Kind("slow", "model-00002-of-00002.safetensors", 1, SAFETENSORS, source),
        Kind("adapter", "adapter_config.json", 2, JSON, adapter_commands),
        Kind("adapter", "adapter_model.safetensors", 1, SAFETENSORS, adapter_commands),
    ]
    found += [
        Kind("data", file, 2, damages, eval_commands(task, file)) for task, file, damages in DATA
    ]
    if HAS_TORCH:
        found.append(Kind("torch", "pytorch_model.bin", 1, (), source))
    return found


def seal(rng: Random, copy: Path, name: str) -> str:
    """Choose what the manifest says of a damaged file: the old sums, the new sums, or nothing."""
    manifest, path = copy / MANIFEST, copy / name
    what = rng.choice(("unsealed", "sealed", "sealed", "sealed", "no manifest", "no manifest"))
    if what == "no manifest":
        manifest.unlink()
    elif what == "sealed" and path.is_file() and path.stat().st_size < 1 << 28:
        content = json.loads(manifest.read_text("utf-8"))
        data = path.read_bytes()
        content["files"][name] = {"size": len(data), "sha256": sha256(data).hexdigest()}
        manifest.unlink()
        manifest.write_text(json.dumps(content), "utf-8")
    return what


def copy_of(base: Path, copy: Path) -> None:
    """A copy that may be damaged."""
    shutil.copytree(base, copy, copy_function=shutil.copyfile)
