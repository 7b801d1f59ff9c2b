"""Checkpoint folders as they are found: sharded, half precision, broken."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file, save_file

from gpt2xl import CheckpointError
from gpt2xl.errors import Gpt2xlWarning
from gpt2xl_export.exporting import export
from gpt2xl_export.source.checkpoint import ROWS, open_checkpoint
from gpt2xl_export.source.sums import file_sha256

Tensors = dict[str, npt.NDArray[Any]]
MakeCheckpoint = Callable[..., Path]


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """Save the tensors of ``folder`` again after ``change``."""
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path)
    return folder


def shard(folder: Path, count: int = 3) -> Path:
    """Spread the tensors over ``count`` files with an index."""
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map: dict[str, str] = {}
    for i in range(count):
        name = f"model-{i + 1:05}-of-{count:05}.safetensors"
        part = dict(list(tensors.items())[i::count])
        save_file(part, folder / name)
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def all_values(folder: Path) -> Tensors:
    """Every tensor as the exporter reads it."""
    checkpoint = open_checkpoint(folder)
    return {name: checkpoint.load(name) for name in checkpoint.tensor_names}


def assert_equal(got: Tensors, wanted: Tensors) -> None:
    """Same names, same bits, float32."""
    assert got.keys() == wanted.keys()
    for name, values in got.items():
        assert values.dtype == np.float32
        assert np.array_equal(values, wanted[name]), name


def test_tensors_are_read_as_they_were_saved(checkpoint: Path) -> None:
    assert_equal(all_values(checkpoint), load_file(checkpoint / "model.safetensors"))


def test_a_sharded_checkpoint_reads_as_a_single_file(
    checkpoint: Path, make_checkpoint: MakeCheckpoint
) -> None:
    folder = shard(make_checkpoint())
    assert len(open_checkpoint(folder).weight_files) == 3
    assert_equal(all_values(folder), all_values(checkpoint))


def test_prefixes_buffers_and_a_tied_head_copy_change_nothing(
    checkpoint: Path, make_checkpoint: MakeCheckpoint
) -> None:
    def as_old_transformers(tensors: Tensors) -> Tensors:
        old: Tensors = {f"transformer.{name}": values for name, values in tensors.items()}
        for layer in range(2):
            mask = np.tril(np.ones((1, 1, 96, 96), np.uint8))
            old[f"transformer.h.{layer}.attn.bias"] = mask
            old[f"transformer.h.{layer}.attn.masked_bias"] = np.array(-1e4, np.float32)
        return old | {"lm_head.weight": tensors["wte.weight"]}

    folder = rewrite(make_checkpoint(), as_old_transformers)
    assert_equal(all_values(folder), all_values(checkpoint))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_is_read_as_the_float32_values_it_stands_for(
    make_checkpoint: MakeCheckpoint, dtype: type
) -> None:
    folder = make_checkpoint()
    halves: Tensors = {name: v.astype(dtype) for name, v in all_values(folder).items()}
    rewrite(folder, lambda _: halves)
    assert_equal(all_values(folder), {name: v.astype(np.float32) for name, v in halves.items()})


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_exports_the_weights_of_its_float32_twin(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, dtype: type
) -> None:
    half, full = make_checkpoint(), make_checkpoint()
    rewrite(half, lambda tensors: {name: v.astype(dtype) for name, v in tensors.items()})
    rewrite(
        full,
        lambda tensors: {n: v.astype(dtype).astype(np.float32) for n, v in tensors.items()},
    )
    for source, out in ((half, "half"), (full, "full")):
        export(source, tmp_path / out)
    digests = [file_sha256(tmp_path / out / "onnx/model.onnx_data") for out in ("half", "full")]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("name", ["wte.weight", "h.0.attn.c_attn.weight", "h.1.attn.c_proj.bias"])
@pytest.mark.parametrize(
    ("dtype", "spelt"), [(np.float64, "F64"), (np.int8, "I8"), (ml_dtypes.float8_e4m3fn, "F8_E4M3")]
)
def test_another_dtype_is_refused_by_name(
    make_checkpoint: MakeCheckpoint, name: str, dtype: type, spelt: str
) -> None:
    folder = rewrite(make_checkpoint(), lambda t: t | {name: t[name].astype(dtype)})
    with pytest.raises(CheckpointError, match=f"tensor '{name}' is {spelt}"):
        open_checkpoint(folder)


def test_a_missing_tensor_is_named_together_with_the_folder(
    make_checkpoint: MakeCheckpoint,
) -> None:
    def without(tensors: Tensors) -> Tensors:
        return {name: v for name, v in tensors.items() if name != "h.1.mlp.c_fc.bias"}

    folder = rewrite(make_checkpoint(), without)
    with pytest.raises(CheckpointError, match=r"checkpoint-0': tensor 'h\.1\.mlp\.c_fc\.bias'"):
        open_checkpoint(folder)


@pytest.mark.parametrize("size", [0, 7, 100, 20_000])
def test_a_file_cut_short_is_named(make_checkpoint: MakeCheckpoint, size: int) -> None:
    folder = make_checkpoint()
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(size)
    with pytest.raises(CheckpointError, match=r"model\.safetensors' is not a whole safetensors"):
        open_checkpoint(folder)


def test_a_shard_that_is_not_there_is_named(make_checkpoint: MakeCheckpoint) -> None:
    folder = shard(make_checkpoint())
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"names 'model-00002-of-00003\.safetensors'"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "first", ["model-00001-of-00003.safetensors", "model-00003-of-00003.safetensors"]
)
def test_a_tied_head_in_one_shard_only_is_the_embedding(
    checkpoint: Path, make_checkpoint: MakeCheckpoint, first: str
) -> None:
    folder = shard(make_checkpoint())
    for path in sorted(folder.glob("*.safetensors")):
        tensors = {name: v for name, v in load_file(path).items() if name != "wte.weight"}
        if path.name == first:
            tensors["lm_head.weight"] = load_file(checkpoint / "model.safetensors")["wte.weight"]
        save_file(tensors, path)
    assert_equal(all_values(folder), all_values(checkpoint))
    assert list(open_checkpoint(folder).notes()) == []


def test_a_shard_with_a_head_too_many_is_read_without_it(
    checkpoint: Path, make_checkpoint: MakeCheckpoint
) -> None:
    folder = shard(make_checkpoint())
    path = folder / "model-00002-of-00003.safetensors"
    save_file(load_file(path) | {"v_head.summary.weight": np.zeros((1, 32), np.float32)}, path)
    assert_equal(all_values(folder), all_values(checkpoint))
    assert list(open_checkpoint(folder).notes()) == [
        "left out v_head.summary.weight: it belongs to another head and does not affect the logits."
    ]


def test_a_tensor_in_two_shards_is_refused(make_checkpoint: MakeCheckpoint) -> None:
    folder = shard(make_checkpoint())
    path = folder / "model-00002-of-00003.safetensors"
    twice = load_file(folder / "model-00001-of-00003.safetensors")["wte.weight"]
    save_file(load_file(path) | {"wte.weight": twice}, path)
    with pytest.raises(
        CheckpointError,
        match=r"'wte\.weight' is stored twice, in 'model-00001-.* and in 'model-00002",
    ):
        open_checkpoint(folder)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("head", ["lm_head.weight", "lm_head.decoder.weight"])
def test_a_tied_head_with_values_of_its_own_is_named(
    make_checkpoint: MakeCheckpoint, head: str, dtype: type
) -> None:
    def with_head(row: int, step: float) -> Callable[[Tensors], Tensors]:
        def change(tensors: Tensors) -> Tensors:
            halves: Tensors = {name: v.astype(dtype) for name, v in tensors.items()}
            values = halves["wte.weight"].copy()
            values[row, 0] += dtype(step)
            return halves | {head: values}

        return change

    folder = make_checkpoint({"vocab_size": ROWS + 300})
    rewrite(folder, with_head(-1, 0.0))
    assert list(open_checkpoint(folder).notes()) == []
    rewrite(folder, with_head(-1, 1.0))
    (note,) = open_checkpoint(folder).notes()
    assert note.startswith(f"left out {head}, which differs from wte.weight: ")
    rewrite(folder, lambda tensors: tensors | {head: tensors[head][:-1]})
    assert len(list(open_checkpoint(folder).notes())) == 1


def test_what_is_left_out_may_have_any_type(make_checkpoint: MakeCheckpoint) -> None:
    extra = {"score.weight": np.zeros(3, np.int64)}
    folder = rewrite(make_checkpoint(), lambda tensors: tensors | extra)
    assert len(list(open_checkpoint(folder).notes())) == 1


def test_an_export_warns_of_what_it_leaves_out(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    extra = {f"score.{i}": np.zeros(1, np.float32) for i in range(8)}
    folder = rewrite(make_checkpoint(), lambda tensors: tensors | extra)
    with pytest.warns(
        Gpt2xlWarning, match=r"left out score\.0, .*score\.5 and 2 more: they belong to an"
    ):
        export(folder, tmp_path / "out")
    plain = make_checkpoint()
    export(plain, tmp_path / "plain")
    digests = [file_sha256(tmp_path / out / "onnx/model.onnx_data") for out in ("out", "plain")]
    assert digests[0] == digests[1]


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 548105171\n" % 0


@pytest.mark.parametrize(
    "name",
    [
        *("model.safetensors", "config.json", "generation_config.json", "tokenizer.json"),
        *("vocab.json", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
    ],
)
def test_a_git_lfs_pointer_is_called_one(make_checkpoint: MakeCheckpoint, name: str) -> None:
    folder = make_checkpoint()
    (folder / name).write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=rf"{name}' is a Git LFS pointer.*run `git lfs pull`"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    "name", ["model-00002-of-00003.safetensors", "model.safetensors.index.json"]
)
def test_a_shard_that_is_a_git_lfs_pointer_is_called_one(
    make_checkpoint: MakeCheckpoint, name: str
) -> None:
    folder = shard(make_checkpoint())
    (folder / name).write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=rf"{name}' is a Git LFS pointer"):
        open_checkpoint(folder)


def test_a_pointer_that_is_not_needed_does_no_harm(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    (folder / "pytorch_model.bin").write_bytes(POINTER)
    (folder / "tf_model.h5").write_bytes(POINTER)
    assert open_checkpoint(folder).weight_files == (folder / "model.safetensors",)


@pytest.mark.parametrize("name", ["../outside.safetensors", "/etc/passwd", ".."])
def test_an_index_that_leads_out_of_the_folder_is_refused(
    make_checkpoint: MakeCheckpoint, name: str
) -> None:
    folder = shard(make_checkpoint())
    (folder.parent / "outside.safetensors").write_bytes(b"")
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"wte.weight": name}})
    )
    with pytest.raises(CheckpointError, match="which is not in the folder"):
        open_checkpoint(folder)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": [1]}', "[]", ""])
def test_a_broken_index_is_named(make_checkpoint: MakeCheckpoint, content: str) -> None:
    folder = shard(make_checkpoint())
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors\.index\.json"):
        open_checkpoint(folder)


def test_a_folder_without_weights_tells_what_it_holds(make_checkpoint: MakeCheckpoint) -> None:
    folder = make_checkpoint()
    (folder / "model.safetensors").rename(folder / "flax_model.msgpack")
    with pytest.raises(CheckpointError, match=r"holds config\.json, flax_model\.msgpack, token"):
        open_checkpoint(folder)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere' is not a folder"):
        open_checkpoint(tmp_path / "nowhere")


def test_the_hash_is_of_the_whole_file(checkpoint: Path, tmp_path: Path) -> None:
    content = (checkpoint / "model.safetensors").read_bytes()
    wanted = hashlib.sha256(content).hexdigest()
    assert open_checkpoint(checkpoint).sha256() == {"model.safetensors": wanted}
    (tmp_path / "empty").touch()
    assert file_sha256(tmp_path / "empty") == hashlib.sha256().hexdigest()
