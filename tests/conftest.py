"""Small random checkpoints, bundles exported from them, and the shared data if it is present."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from gpt2xl_export.exporting import export
from gpt2xl_export.options import ExportOptions

DATA = Path(__file__).parents[2] / "shared" / "data"
TEXT = "Once upon a time there was a king who had a fair daughter, and the king said to her: go."
MakeCheckpoint = Callable[..., Path]


def tiny_tokenizer() -> Tokenizer:
    """A byte-level BPE laid out like GPT-2's: 256 bytes, 30 merges, end-of-text last (id 286)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=286, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT] * 3, trainer)
    tokenizer.add_special_tokens([AddedToken("<|endoftext|>", normalized=False)])
    return tokenizer


def write_checkpoint(folder: Path, config: dict[str, object] | None = None, seed: int = 0) -> Path:
    """A random GPT-2 checkpoint; ``config`` overrides keys of its config.json."""
    values: dict[str, object] = {
        "model_type": "gpt2", "vocab_size": 289, "n_positions": 96, "n_embd": 32, "n_layer": 2,
        "n_head": 2, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
        "bos_token_id": 286, "eos_token_id": 286,
    } | (config or {})  # fmt: skip
    from gpt2xl.bundle.config import read_config
    from gpt2xl.errors import CheckpointError
    from gpt2xl_export.source.tensors import expected_shapes

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(values))
    rng = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_shapes(read_config(folder, CheckpointError)).items():
        mean, std = (1.0, 0.1) if "ln_" in name and name.endswith("weight") else (0.0, 0.2)
        tensors[name] = rng.normal(mean, std, shape).astype(np.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def make_checkpoint(tmp_path: Path) -> MakeCheckpoint:
    """Call it with config overrides (and a seed) for a new random checkpoint."""
    made: list[Path] = []

    def make(config: dict[str, object] | None = None, seed: int = 0) -> Path:
        made.append(write_checkpoint(tmp_path / f"checkpoint-{len(made)}", config, seed))
        return made[-1]

    return make


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One random checkpoint that tests only read."""
    return write_checkpoint(tmp_path_factory.mktemp("source") / "tiny")


@pytest.fixture(scope="session")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its float32 bundle, that tests only read."""
    out = tmp_path_factory.mktemp("bundle") / "tiny"
    export(checkpoint, out)
    return out


@pytest.fixture(scope="session")
def make_bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Call it with config overrides (and a precision) for a bundle that tests only read."""
    made: dict[str, Path] = {}

    def make(config: dict[str, object] | None = None, precision: str = "fp32") -> Path:
        key = json.dumps([config, precision], sort_keys=True)
        if key not in made:
            folder = tmp_path_factory.mktemp("made")
            source = write_checkpoint(folder / "checkpoint", config)
            export(source, folder / "bundle", ExportOptions(precision))
            made[key] = folder / "bundle"
        return made[key]

    return make


@pytest.fixture
def make_foreign(bundle: Path, tmp_path: Path) -> Callable[[], Path]:
    """Call it for a copy of the bundle without a manifest, so that damage is not noticed early."""

    def make() -> Path:
        folder = shutil.copytree(bundle, tmp_path / "foreign")
        (folder / "gpt2xl.json").unlink()
        return folder

    return make


@pytest.fixture(scope="session")
def as_hub_cache() -> Callable[[Path, Path], Path]:
    """Call it with a folder and a new one: copies it as huggingface_hub would, a snapshot of links to blobs."""

    def lay_out(folder: Path, repo: Path) -> Path:
        blobs, snapshot = repo / "blobs", repo / "snapshots" / "0123abc"
        blobs.mkdir(parents=True)
        for number, path in enumerate(p for p in sorted(folder.rglob("*")) if p.is_file()):
            shutil.copyfile(path, blobs / str(number))
            link = snapshot / path.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(os.path.relpath(blobs / str(number), link.parent))
        return snapshot

    return lay_out


@pytest.fixture(scope="session")
def run_graph() -> Callable[..., npt.NDArray[np.float32]]:
    """Logits of one run of a graph over an empty cache, by onnxruntime without our runtime."""
    sessions: dict[Path, ort.InferenceSession] = {}

    def run(path: Path, ids: list[list[int]], **inputs: object) -> npt.NDArray[np.float32]:
        if path not in sessions:
            sessions[path] = ort.InferenceSession(path)
        session = sessions[path]
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        feed |= {"position_ids": np.tile(np.arange(len(ids[0])), (len(ids), 1))} | inputs
        feed = {name: np.asarray(value, np.int64) for name, value in feed.items()}
        for value in session.get_inputs():
            if value.name.startswith("past_key_values."):
                _, n_head, length, head_dim = value.shape
                room = len(ids[0]) if length == "max_sequence_length" else 0
                feed[value.name] = np.zeros((len(ids), n_head, room, head_dim), np.float32)
        return np.asarray(session.run(["logits"], feed)[0])

    return run


@pytest.fixture(scope="session")
def genuine_files(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GPT-2's own vocab.json and merges.txt in a folder."""
    folder = tmp_path_factory.mktemp("genuine")
    for name, published in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")):
        (folder / name).symlink_to(shared_data / "tokenizer" / published)
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of golden data beside the checkout; tests that need it skip without it."""
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not here")
    return DATA
