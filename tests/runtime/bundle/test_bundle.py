"""Whole bundle folders load; incomplete ones are refused with the reason."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from gpt2xl import BundleError, load
from gpt2xl.bundle.bundle import open_bundle


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle to damage."""
    return shutil.copytree(bundle, tmp_path / "copy")


def test_a_whole_bundle_has_both_graphs_and_a_manifest(bundle: Path) -> None:
    found = open_bundle(bundle)
    assert found.engine == bundle / "onnx" / "engine.onnx"
    assert found.portable == bundle / "onnx" / "model.onnx"
    assert found.manifest is not None
    assert found.manifest.precision == "fp32"
    assert found.config.n_layer == 2


def test_a_folder_with_only_a_portable_graph_gives_the_same_text(
    make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    whole = make_bundle({"vocab_size": 287})
    copy = shutil.copytree(whole, tmp_path / "copy")
    (copy / "onnx" / "engine.onnx").unlink()
    (copy / "gpt2xl.json").unlink()
    assert open_bundle(copy).engine is None
    texts = [load(folder).generate("Once", greedy=True).new_ids for folder in (whole, copy)]
    assert texts[0] == texts[1]
    assert len(texts[0]) > 10


def test_graphs_may_lie_in_the_folder_itself(copy: Path) -> None:
    (copy / "gpt2xl.json").unlink()
    for path in [*(copy / "onnx").iterdir()]:
        path.rename(copy / path.name)
    assert open_bundle(copy).portable == copy / "model.onnx"
    load(copy)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere' is not a folder"):
        load(tmp_path / "nowhere")


def test_a_file_in_place_of_a_folder(bundle: Path) -> None:
    with pytest.raises(BundleError, match=r"config\.json' is not a folder"):
        load(bundle / "config.json")


def test_an_empty_folder_holds_no_graph(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"holds no ONNX file\.$"):
        load(tmp_path)


def test_a_checkpoint_is_recognized_and_the_remedy_named(checkpoint: Path) -> None:
    with pytest.raises(BundleError, match="it is a checkpoint: run `gpt2xl export "):
        load(checkpoint)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "pytorch_model.bin.index.json", "model.safetensors.index.json"]
)
def test_a_checkpoint_of_pytorch_or_of_shards_is_recognized(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(BundleError, match="it is a checkpoint: run `gpt2xl export "):
        load(tmp_path)


@pytest.mark.parametrize("weights", ["adapter_model.safetensors", "adapter_model.bin"])
@pytest.mark.parametrize(
    ("base", "hint"),
    [
        ("me/my-gpt2", "for the model me/my-gpt2, not a model: run `gpt2xl export me/my-gpt2 OUT"),
        (None, "adapter, not a model: run `gpt2xl export BASE OUT"),
        ("a b\n\x1b[2J", "adapter, not a model: run `gpt2xl export BASE OUT"),
    ],
)
def test_an_adapter_is_recognized_and_the_remedy_named(
    tmp_path: Path, weights: str, base: str | None, hint: str
) -> None:
    config = json.dumps({"peft_type": "LORA", "base_model_name_or_path": base})
    (tmp_path / "adapter_config.json").write_text(config)
    (tmp_path / weights).write_bytes(b"x")
    with pytest.raises(BundleError) as error:
        load(tmp_path)
    assert hint in str(error.value)
    assert str(error.value).endswith(f" OUT --adapter {tmp_path}`.")


def test_an_adapter_beside_whole_weights_is_a_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(BundleError, match="it is a checkpoint"):
        load(folder)


@pytest.mark.parametrize("name", ["onnx/model.onnx_data", "onnx/engine.onnx", "tokenizer.json"])
def test_a_git_lfs_pointer_in_a_bundle_is_recognized(copy: Path, name: str) -> None:
    (copy / name).write_text("version https://git-lfs.github.com/spec/v1\nsize 5\n")
    with pytest.raises(BundleError, match=f"{name}' is a Git LFS pointer.*run `git lfs pull`"):
        load(copy)


def test_a_git_lfs_pointer_of_an_adapter_config_is_recognized(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\nsize 5\n"
    (tmp_path / "adapter_config.json").write_text(pointer)
    with pytest.raises(BundleError, match="is a Git LFS pointer"):
        load(tmp_path)


def test_graphs_of_other_names_are_refused(copy: Path) -> None:
    (copy / "gpt2xl.json").unlink()
    (copy / "onnx" / "model.onnx").rename(copy / "onnx" / "decoder.onnx")
    (copy / "onnx" / "engine.onnx").unlink()
    with pytest.raises(BundleError, match="holds neither onnx/engine"):
        load(copy)


def test_two_precisions_in_a_folder_are_refused(copy: Path) -> None:
    shutil.copy(copy / "onnx" / "model.onnx", copy / "onnx" / "model_int8.onnx")
    with pytest.raises(BundleError, match=r"several graphs \(model.onnx, model_int8.onnx\)"):
        load(copy)


@pytest.mark.parametrize(
    "name", ["onnx/model.onnx_data", "onnx/engine.onnx", "tokenizer.json", "README.md"]
)
def test_a_missing_file_of_the_manifest_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"{name}' is missing: the bundle is incomplete"):
        load(copy)


def test_a_file_cut_short_is_named_with_both_sizes(copy: Path) -> None:
    path = copy / "onnx" / "model.onnx_data"
    whole = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(1000)
    with pytest.raises(BundleError, match=f"onnx_data' has 1000 bytes, the manifest says {whole}"):
        load(copy)


def test_a_damaged_graph_is_named(copy: Path) -> None:
    path = copy / "onnx" / "engine.onnx"
    path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(BundleError, match=r"engine\.onnx' is cut short or not an ONNX file"):
        load(copy)


def test_weights_missing_beside_a_foreign_graph_are_named(copy: Path) -> None:
    (copy / "gpt2xl.json").unlink()
    (copy / "onnx" / "model.onnx_data").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx_data' is missing"):
        load(copy)


def test_a_graph_without_logits_is_refused(copy: Path) -> None:
    path = copy / "onnx" / "engine.onnx"
    model = onnx.load(path, load_external_data=False)
    model.graph.output[0].name = model.graph.node[-1].output[0] = "scores"
    onnx.save(model, path)
    (copy / "gpt2xl.json").unlink()
    with pytest.raises(BundleError, match="lacks logits: not a GPT-2 of 2 layers with past"):
        load(copy)


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_broken_manifest_is_named(copy: Path, content: str) -> None:
    (copy / "gpt2xl.json").write_text(content)
    with pytest.raises(BundleError, match=r"gpt2xl\.json"):
        load(copy)


@pytest.mark.parametrize("files", ["[]", "1", '{"README.md": 3}', '{"README.md": {"sha256": ""}}'])
def test_a_manifest_of_another_shape_is_named(copy: Path, files: str) -> None:
    (copy / "gpt2xl.json").write_text('{"files": ' + files + "}")
    with pytest.raises(BundleError, match=r"gpt2xl\.json"):
        load(copy)
