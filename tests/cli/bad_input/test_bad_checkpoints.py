"""Broken checkpoints: one line that names the file and what is wrong with it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

Refused = Callable[..., str]
Damage = Callable[[Path], object]
Tensors = dict[str, npt.NDArray[np.generic]]
WEIGHTS = "model.safetensors"


def config(**changes: object) -> Damage:
    """Change keys of config.json; None removes one."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / "config.json").read_text()) | changes
        kept = {key: value for key, value in content.items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))

    return damage


def tensors(change: Callable[[Tensors], object]) -> Damage:
    def damage(folder: Path) -> None:
        content: Tensors = load_file(folder / WEIGHTS)
        change(content)
        save_file(content, folder / WEIGHTS)

    return damage


def write(name: str, content: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(content)


def cut(name: str, size: int) -> Damage:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def cast(name: str, dtype: type) -> Damage:
    return tensors(lambda content: content.update({name: content[name].astype(dtype)}))


def fill(name: str, value: float) -> Damage:
    return tensors(lambda content: content[name].fill(value))


def wordpiece(folder: Path) -> None:
    tokenizer = Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(folder / "tokenizer.json"))


def fewer_ids(folder: Path) -> None:
    config(vocab_size=200)(folder)
    tensors(lambda content: content.update({"wte.weight": content["wte.weight"][:200]}))(folder)


def sharded(weight_map: object) -> Damage:
    def damage(folder: Path) -> None:
        (folder / WEIGHTS).unlink()
        (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return damage


CONFIGS: dict[str, tuple[Damage, str]] = {
    "no config.json": (remove("config.json"), "config.json' does not exist"),
    "a BERT": (config(model_type="bert"), "model_type 'bert'"),
    "no model_type": (config(model_type=None), "model_type None"),
    "not JSON": (write("config.json", b'{"model_type": '), "config.json' cannot be read as JSON"),
    "not UTF-8": (write("config.json", b"\xff{}"), "config.json' is not UTF-8: byte 0xff at"),
    "a JSON list": (write("config.json", b"[]"), "holds a list"),
    "n_embd not a multiple of n_head": (
        config(n_head=5),
        "n_embd 32 is not a multiple of n_head 5",
    ),
    "a size missing": (config(n_layer=None), "tensor 'h.2.ln_1.weight' is missing"),  # of 12
    "a size negative": (config(n_embd=-32), "n_embd has to be a positive integer, but is -32"),
    "a size zero": (config(n_head=0), "n_head has to be a positive integer, but is 0"),
    "a size in quotes": (config(n_embd="32"), "n_embd has to be a positive integer, but is '32'"),
    "a size that is a float": (config(n_embd=32.0), "n_embd has to be a positive integer"),
    "a size that is true": (config(n_layer=True), "n_layer has to be a positive integer"),
    "a huge vocabulary": (config(vocab_size=10**30), "vocab_size has to be at most 2147483647"),
    "a huge context": (config(n_positions=10**9), f"[{10**9}, 32]"),
    "a huge number of layers": (config(n_layer=10**9), f"{10**9} layers"),
    "one layer too many": (config(n_layer=3), "tensor 'h.2.ln_1.weight' is missing"),
    "one layer too few": (
        config(n_layer=1),
        "tensor 'h.1.attn.c_attn.bias' does not belong to a GPT-2",
    ),
    "an epsilon in quotes": (config(layer_norm_epsilon="tiny"), "layer_norm_epsilon"),
    "a flag in quotes": (config(tie_word_embeddings="no"), "tie_word_embeddings"),
    "an unknown activation": (config(activation_function="snake"), "activation_function 'snake'"),
    "a broken generation config": (write("generation_config.json", b"["), "generation_config.json"),
}

FILES: dict[str, tuple[Damage, str]] = {
    "no weights": (remove(WEIGHTS), f"holds no {WEIGHTS}"),
    "weights cut short": (cut(WEIGHTS, 100_000), "is not a whole safetensors file"),
    "weights cut in their header": (cut(WEIGHTS, 300), "is not a whole safetensors file"),
    "empty weights": (cut(WEIGHTS, 0), "is not a whole safetensors file"),
    "a corrupt header": (write(WEIGHTS, b"\x08\0\0\0\0\0\0\0notjson!"), "not a whole safetensors"),
    "a header of absurd size": (write(WEIGHTS, b"\xff" * 64), "is not a whole safetensors file"),
    "an index of nothing": (sharded({}), "has no weight_map"),
    "an index of files elsewhere": (sharded({"wte.weight": "../x"}), "'../x', which is not in"),
    "a shard missing": (sharded({"wte.weight": "one.safetensors"}), "'one.safetensors', which is"),
    "no tokenizer": (remove("tokenizer.json"), "holds neither tokenizer.json nor vocab.json"),
    "a tokenizer cut short": (cut("tokenizer.json", 500), "tokenizer.json' cannot be read"),
    "a tokenizer not UTF-8": (write("tokenizer.json", b"\xff{}"), "tokenizer.json'"),
    "a WordPiece tokenizer": (wordpiece, "not a byte-level BPE"),
    "a tokenizer with more ids than the model": (
        fewer_ids,
        "has id 200, but config.json has vocab_size 200",
    ),
}

TENSORS: dict[str, tuple[Damage, str]] = {
    "one missing": (
        tensors(lambda content: content.pop("h.1.mlp.c_fc.bias")),
        "tensor 'h.1.mlp.c_fc.bias' is missing",
    ),
    "all missing": (
        tensors(lambda content: content.clear()),
        "the config asks for 2 layers, but the files have only 0 tensors",
    ),
    "one extra": (
        tensors(lambda content: content.update(extra=np.zeros(1, np.float32))),
        "tensor 'extra' does not belong to a GPT-2",
    ),
    "one transposed": (
        tensors(lambda c: c.update({"h.0.mlp.c_fc.weight": np.zeros((128, 32), np.float32)})),
        "tensor 'h.0.mlp.c_fc.weight' has shape [128, 32], the config asks for [32, 128]",
    ),
    "integers": (cast("wte.weight", np.int32), "tensor 'wte.weight' is I32"),
    "integers in attention": (cast("h.0.attn.c_attn.weight", np.int8), "c_attn.weight' is I8"),
    "doubles": (cast("ln_f.bias", np.float64), "tensor 'ln_f.bias' is F64"),
    "not a number": (fill("h.1.ln_1.weight", np.nan), "is nan, the tolerance"),
    "infinities": (fill("h.0.mlp.c_fc.bias", np.inf), "is nan, the tolerance"),
}


@pytest.mark.parametrize(
    ("damage", "message"),
    [pytest.param(*case, id=name) for name, case in (CONFIGS | FILES | TENSORS).items()],
)
def test_a_checkpoint_that_is_not_a_complete_gpt2_is_refused(
    damage: Damage, message: str, checkpoint: Path, tmp_path: Path, refused: Refused
) -> None:
    copy = shutil.copytree(checkpoint, tmp_path / "copy")
    damage(copy)
    assert message in refused("export", copy, tmp_path / "out")


@pytest.mark.parametrize("name", ["nowhere", "checkpoint/config.json", "/no/where"])
def test_a_source_that_is_not_a_folder_is_refused(
    name: str, checkpoint: Path, refused: Refused
) -> None:
    Path("checkpoint").symlink_to(checkpoint)
    assert f"'{name}' is not a folder" in refused("export", name, "out")


def test_an_empty_folder_is_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty/config.json' does not exist" in refused("export", "empty", "out")
