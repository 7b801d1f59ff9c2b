"""The small files of a bundle: what runtimes read, what came with the checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from tokenizers import models

from gpt2xl import CheckpointError, GPT2Config, Tokenizer
from gpt2xl_export.checkpoint import open_checkpoint
from gpt2xl_export.companions import build_tokenizer, genai_config, write_companions

MakeCheckpoint = Callable[..., Path]


def write(source: Path, out: Path, suffix: str = "", dtype: str = "fp32") -> Path:
    """The companions of the checkpoint ``source``."""
    out.mkdir()
    write_companions(open_checkpoint(source), out, suffix, dtype)
    return out


def read(path: Path) -> Any:
    """JSON."""
    return json.loads(path.read_text("utf-8"))


def as_vocab_and_merges(folder: Path) -> Path:
    """Replace tokenizer.json by the two files GPT-2 was published with."""
    model = read(folder / "tokenizer.json")["model"]
    vocab = model["vocab"] | {"<|endoftext|>": 286}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    merges = [" ".join(pair) for pair in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
    (folder / "tokenizer.json").unlink()
    return folder


def test_a_checkpoint_of_three_files_gets_all_the_others(checkpoint: Path, tmp_path: Path) -> None:
    out = write(checkpoint, tmp_path / "out")
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "config.json",
        "genai_config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    assert read(out / "generation_config.json") == {"bos_token_id": 286, "eos_token_id": 286}
    assert read(out / "tokenizer_config.json") == {
        "tokenizer_class": "GPT2Tokenizer",
        "model_max_length": 96,
        "bos_token": "<|endoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    assert "without a model card" in (out / "README.md").read_text("utf-8")


def test_config_keeps_its_keys_and_tells_transformers_js_about_the_weights(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = make_checkpoint({"task_specific_params": {"x": [1]}, "resid_pdrop": 0.1})
    got = read(write(source, tmp_path / "out", "_int8", "int8") / "config.json")
    assert got.pop("transformers.js_config") == {
        "dtype": "int8",
        "use_external_data_format": {"model_int8.onnx": 1},
    }
    assert got == read(source / "config.json")


def test_cards_licences_and_tokenizer_configs_are_carried_along_untouched(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = make_checkpoint()
    carried = {
        "README.md": "# Größe\r\n".encode(),
        "LICENSE": b"MIT\xff",
        "LICENSE.txt": b"more",
        "LICENCE.md": b"licence",
        "NOTICE": b"notice",
        "tokenizer_config.json": b'{"model_max_length": 96}',
        "special_tokens_map.json": b'{"eos_token": "<|endoftext|>"}',
        "added_tokens.json": b"{}",
    }
    left = {"pytorch_model.bin": b"pickle", "training_args.bin": b"pickle", "run.py": b"print()"}
    for name, content in (carried | left).items():
        (source / name).write_bytes(content)
    out = write(source, tmp_path / "out")
    for name, content in carried.items():
        assert (out / name).read_bytes() == content
    assert not {path.name for path in out.iterdir()} & set(left)


def test_genai_reads_the_portable_graph_with_the_models_own_sizes() -> None:
    config = GPT2Config(50257, 1024, n_embd=1600, n_layer=48, n_head=25, eos_token_id=50256)
    got = genai_config(config, "onnx/model_q4.onnx")
    model, decoder = got["model"], got["model"]["decoder"]
    assert model["type"] == "decoder"
    assert model["pad_token_id"] == -1
    assert (model["bos_token_id"], model["eos_token_id"]) == (50256, 50256)
    assert (model["vocab_size"], model["context_length"]) == (50257, 1024)
    assert decoder["filename"] == "onnx/model_q4.onnx"
    assert (decoder["num_hidden_layers"], decoder["num_attention_heads"]) == (48, 25)
    assert (decoder["head_size"], decoder["hidden_size"]) == (64, 1600)
    assert decoder["num_key_value_heads"] == 25
    assert decoder["inputs"]["past_value_names"] == "past_key_values.%d.value"
    assert decoder["outputs"]["present_key_names"] == "present.%d.key"
    assert got["search"]["past_present_share_buffer"] is False
    assert got["search"]["max_length"] == 1024


@pytest.mark.parametrize(
    ("eos", "bos", "eos_written", "bos_written"),
    [((7, 3), None, [3, 7], 3), (5, 1, 5, 1), (None, None, 0, 0), (None, 4, 0, 4), ((9,), 0, 9, 0)],
)
def test_genai_gets_ids_that_it_can_stop_at(
    eos: int | tuple[int, ...] | None, bos: int | None, eos_written: object, bos_written: int
) -> None:
    config = GPT2Config(9, 9, n_embd=8, n_layer=1, n_head=1, eos_token_id=eos, bos_token_id=bos)
    model = genai_config(config, "x")["model"]
    assert (model["eos_token_id"], model["bos_token_id"]) == (eos_written, bos_written)


def test_a_generation_config_of_several_ends_reaches_genai(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = make_checkpoint()
    (source / "generation_config.json").write_text('{"eos_token_id": [286, 3]}')
    out = write(source, tmp_path / "out")
    assert read(out / "genai_config.json")["model"]["eos_token_id"] == [3, 286]


def test_tokenizer_json_is_carried_along(checkpoint: Path, tmp_path: Path) -> None:
    out = write(checkpoint, tmp_path / "out")
    assert read(out / "tokenizer.json") == read(checkpoint / "tokenizer.json")


def test_vocab_and_merges_make_the_same_tokenizer(
    checkpoint: Path, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    out = write(as_vocab_and_merges(make_checkpoint()), tmp_path / "out")
    built = Tokenizer.from_file(out / "tokenizer.json")
    wanted = Tokenizer.from_file(checkpoint / "tokenizer.json")
    assert built.vocab_size == wanted.vocab_size
    for text in ("Once upon a time", "€ <|endoftext|>  x\n\n'll 12", "", "\u3000é"):
        for parse_special in (True, False):
            ids = wanted.encode(text, parse_special=parse_special)
            assert built.encode(text, parse_special=parse_special) == ids
        assert built.decode(built.encode(text)) == text


def test_added_tokens_go_with_vocab_and_merges(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = as_vocab_and_merges(make_checkpoint())
    (source / "added_tokens.json").write_text('{"<|reply|>": 288, "<|pad|>": 287}')
    built = Tokenizer.from_file(write(source, tmp_path / "out") / "tokenizer.json")
    assert built.encode("<|pad|>x<|reply|>") == [287, *built.encode("x"), 288]
    assert built.decode([287, 288]) == "<|pad|><|reply|>"


@pytest.mark.parametrize("content", ['{"<|pad|>": 290}', '{"<|pad|>": "287"}', "[]", "{"])
def test_added_tokens_that_do_not_follow_the_vocabulary_are_refused(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, content: str
) -> None:
    source = as_vocab_and_merges(make_checkpoint())
    (source / "added_tokens.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"added_tokens\.json"):
        write(source, tmp_path / "out")


def test_the_genuine_vocabulary_builds(shared_data: Path) -> None:
    folder = shared_data / "tokenizer"
    built = Tokenizer(build_tokenizer(folder / "encoder.json", folder / "vocab.bpe"))
    assert built.encode("<|endoftext|>") == [50256]


def test_vocab_and_merges_that_do_not_fit_are_refused(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = as_vocab_and_merges(make_checkpoint())
    (source / "merges.txt").write_text("#version: 0.2\nthis that\n")
    with pytest.raises(CheckpointError, match=r"merges\.txt' are no BPE"):
        write(source, tmp_path / "out")


@pytest.mark.parametrize("content", [b"{}", b"", b"\xff", b"[]"])
def test_a_broken_tokenizer_json_is_named(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, content: bytes
) -> None:
    source = make_checkpoint()
    (source / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        write(source, tmp_path / "out")


def test_a_tokenizer_that_is_not_byte_level_is_refused(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = make_checkpoint()
    other = tokenizers.Tokenizer(models.WordLevel({"a": 0}, unk_token="a"))
    other.save(str(source / "tokenizer.json"))
    with pytest.raises(CheckpointError, match=r"tokenizer\.json'.*byte-level"):
        write(source, tmp_path / "out")


def test_no_tokenizer_at_all_is_refused(make_checkpoint: MakeCheckpoint, tmp_path: Path) -> None:
    source = make_checkpoint()
    (source / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"neither tokenizer\.json nor vocab\.json and mer"):
        write(source, tmp_path / "out")


def test_the_generation_config_is_carried_along_with_the_ids_that_count(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = make_checkpoint({"bos_token_id": 2})
    (source / "generation_config.json").write_text('{"eos_token_id": [286, 3], "max_length": 50}')
    out = write(source, tmp_path / "out")
    wanted = {"eos_token_id": [286, 3], "bos_token_id": 2}
    found = json.loads((out / "generation_config.json").read_text())
    assert found == wanted | {"max_length": 50}
    assert json.loads((out / "config.json").read_text()).items() >= wanted.items()


def test_the_config_names_every_size_and_id_for_readers_that_know_no_defaults(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = make_checkpoint()
    content = json.loads((source / "config.json").read_text())
    for name in ("bos_token_id", "eos_token_id", "n_layer"):
        del content[name]
    (source / "config.json").write_text(json.dumps(content | {"num_hidden_layers": 2}))
    found = json.loads((write(source, tmp_path / "out") / "config.json").read_text())
    assert (found["n_layer"], found["bos_token_id"], found["eos_token_id"]) == (2, 50256, 50256)
    assert "num_hidden_layers" not in found
