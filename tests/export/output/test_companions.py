"""The small files of a bundle: what runtimes read, what came with the checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import CheckpointError, GPT2Config, Gpt2xlWarning
from gpt2xl_export.output.companions import genai_config, write_companions
from gpt2xl_export.source.checkpoint import NEEDED_FILES, open_checkpoint

POINTER = "version https://git-lfs.github.com/spec/v1\nsize 5\n"
MakeCheckpoint = Callable[..., Path]


def write(source: Path, out: Path, suffix: str = "", dtype: str = "fp32") -> Path:
    """The companions of the checkpoint ``source``."""
    out.mkdir()
    write_companions(open_checkpoint(source), out, suffix, dtype)
    return out


def read(path: Path) -> Any:
    """JSON."""
    return json.loads(path.read_text("utf-8"))


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
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 96,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
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
    }
    left = {"pytorch_model.bin": b"pickle", "training_args.bin": b"pickle", "run.py": b"print()"}
    left |= {
        "special_tokens_map.json": b'{"eos_token": "<|endoftext|>"}',
        "added_tokens.json": b"{}",
    }
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


@pytest.mark.parametrize("name", NEEDED_FILES)
@pytest.mark.parametrize("target", ["../secret", "/etc/passwd"])
def test_nothing_from_outside_of_the_checkpoint_gets_into_a_bundle(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, name: str, target: str
) -> None:
    source = make_checkpoint()
    (tmp_path / "secret").write_text(json.dumps({"x": "secret"}))
    (source / name).unlink(missing_ok=True)
    (source / name).symlink_to(target)
    with pytest.raises(CheckpointError, match=f"{name}' is a link out of its folder: copy the fil"):
        open_checkpoint(source)


def test_a_chat_template_from_outside_is_left_out_with_a_word(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    source = make_checkpoint()
    (tmp_path / "key").write_text("secret")
    (source / "chat_template.jinja").symlink_to("../key")
    with pytest.warns(Gpt2xlWarning, match=r"jinja' is left out of the bundle: it is a link out"):
        out = write(source, tmp_path / "out")
    assert "chat_template" not in read(out / "tokenizer_config.json")


def test_weights_and_the_files_of_the_hubs_cache_may_be_links(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, as_hub_cache: Callable[[Path, Path], Path]
) -> None:
    source = make_checkpoint()
    (source / "generation_config.json").write_text('{"max_length": 50}')
    (source / "chat_template.jinja").write_text("{{ y }}")
    snapshot = as_hub_cache(source, tmp_path / "repo")
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(source / "model.safetensors")
    out = write(snapshot, tmp_path / "out")
    assert read(out / "generation_config.json")["max_length"] == 50
    assert read(out / "tokenizer_config.json")["chat_template"] == "{{ y }}"


def test_a_chat_template_that_is_a_git_lfs_pointer_is_refused(
    make_checkpoint: MakeCheckpoint,
) -> None:
    source = make_checkpoint()
    (source / "chat_template.jinja").write_text(POINTER)
    with pytest.raises(CheckpointError, match="jinja' is a Git LFS pointer"):
        open_checkpoint(source)
