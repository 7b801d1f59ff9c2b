"""The folders and files that are damaged: checkpoints of each layout, bundles, a prompt cache, a batch, data sets."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

CONFIG = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 48}
PROMPT = "Once upon a time"
BATCH = ("--greedy", "-n", "3", "--threads", "1")
HAS_TORCH = importlib.util.find_spec("torch") is not None


def build(root: Path) -> None:
    """Make all of them in ``root``; always the same."""
    from gpt2xl_export.exporting import export
    from gpt2xl_export.options import ExportOptions

    _checkpoint(root / "checkpoint")
    _slow(root / "checkpoint", root / "slow")
    _adapter(root / "adapter")
    if HAS_TORCH:
        _torch(root / "checkpoint", root / "torch")
    export(root / "checkpoint", root / "bundle")
    export(root / "checkpoint", root / "int8", ExportOptions("int8"))
    _prompt_cache(root / "bundle", root / "prompt")
    _batch(root / "bundle", root / "batch")
    _data_sets(root / "data")


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2), "utf-8")


def _checkpoint(folder: Path) -> None:
    from tests.conftest import write_checkpoint

    write_checkpoint(folder, dict(CONFIG))
    names = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "model_max_length": 48} | names)  # fmt: skip
    _write(folder / "special_tokens_map.json", names)
    _write(folder / "generation_config.json", {"bos_token_id": 286, "eos_token_id": 286})
    (folder / "README.md").write_text("---\nlicense: mit\n---\n# A card\n")


def _slow(source: Path, folder: Path) -> None:
    """A checkpoint with vocab.json, merges.txt and weights in two files."""
    folder.mkdir()
    for name in ("config.json", "special_tokens_map.json", "tokenizer_config.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    model = json.loads((source / "tokenizer.json").read_text("utf-8"))["model"]
    _write(folder / "vocab.json", {**model["vocab"], "<|endoftext|>": 286})
    pairs = (pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])
    (folder / "merges.txt").write_text("\n".join(("#version: 0.2", *pairs, "")), "utf-8")
    _write(folder / "added_tokens.json", {"<|pad|>": 287})
    tensors = load_file(source / "model.safetensors")
    half = len(tensors) // 2
    where: dict[str, str] = {}
    for number, names in enumerate((list(tensors)[:half], list(tensors)[half:]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        save_file({name: tensors[name] for name in names}, folder / file, {"format": "pt"})
        where |= dict.fromkeys(names, file)
    _write(folder / "model.safetensors.index.json", {"metadata": {"total_size": 1}, "weight_map": where})  # fmt: skip


def _torch(source: Path, folder: Path) -> None:
    import torch

    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_bytes((source / name).read_bytes())
    tensors = load_file(source / "model.safetensors")
    values = {name: torch.from_numpy(array) for name, array in tensors.items()}
    torch.save(values, folder / "pytorch_model.bin")


def _adapter(folder: Path) -> None:
    """A LoRA adapter of `c_attn`, as PEFT saves it."""
    folder.mkdir()
    _write(folder / "adapter_config.json", {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "checkpoint", "r": 2,
        "lora_alpha": 4, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": True, "inference_mode": True,
        "target_modules": ["c_attn"], "modules_to_save": None, "use_rslora": False, "use_dora": False,
        "rank_pattern": {}, "alpha_pattern": {}, "layers_to_transform": None,
    })  # fmt: skip
    rng = np.random.default_rng(1)
    prefix = "base_model.model.transformer.h.0.attn.c_attn.lora_"
    shapes = {f"{prefix}A.weight": (2, 16), f"{prefix}B.weight": (48, 2)}
    tensors = {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})


def _prompt_cache(bundle: Path, folder: Path) -> None:
    import gpt2xl

    folder.mkdir()
    gpt2xl.load(bundle, threads=1).save_prompt(PROMPT, folder / "prompt.npz")


def _batch(bundle: Path, folder: Path) -> None:
    """An input, and the file of an interrupted run: a header and two texts."""
    import gpt2xl
    from gpt2xl_cli.batches.resume_file import ResumeFile
    from gpt2xl_cli.batches.run_header import run_header

    folder.mkdir()
    rows = [
        {"id": number, "prompt": text} for number, text in enumerate(("Once", "the king", "go"))
    ]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "in.jsonl").write_text(content, "utf-8")
    options = gpt2xl.GenerationOptions(max_new_tokens=3, greedy=True)
    header = run_header(content, bundle, options)
    part = ResumeFile(folder / "out.jsonl", header, force=False)
    model = gpt2xl.load(bundle, threads=1)
    with part:
        for number, text in model.generate_batch(["Once", "the king"], options):  # fmt: skip
            part.add(number, text)


def _data_sets(folder: Path) -> None:
    """What `gpt2xl eval` reads, in the formats in which the data sets are distributed."""
    sentences = "".join(f"{number} the king said no .\n" for number in range(1, 21))
    contents = {
        "lambada_test.jsonl": _lines({"text": "the king saw the sea"}, {"text": "so he went on"}),
        "cbtest_NE_valid_2000ex.txt": f"{sentences}21 then XXXXX said yes .\tMary\t\tMary|Tom|Ann\n\n" * 2,
        "choices.jsonl": _lines(
            {"context": "The sun", "choices": ["rises.", "sleeps."], "answer": 0},
            {"ctx": "A man sits", "ctx_a": "A man sits", "ctx_b": "", "endings": ["down.", "up [step] now.", "so.", "."], "label": 1, "activity_label": "Rest"},
        ),
        "pairs.jsonl": _lines({"sentence_good": "he sits.", "sentence_bad": "he sit.", "UID": "verbs"}),
        "wiki.test.tokens": " \n = King = \n \n The king , a man of 1 @,@ 000 words , went . \n",
    }  # fmt: skip
    folder.mkdir()
    for name, content in contents.items():
        (folder / name).write_text(content, "utf-8")


def _lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
