"""Weight files of PyTorch: all formats that torch has written, and what is refused."""

import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from gpt2xl import CheckpointError
from gpt2xl_export.source.checkpoint import open_checkpoint
from gpt2xl_export.source.tensor_files import open_tensor_file

torch = pytest.importorskip("torch", reason="PyTorch's files need torch")

MakeCheckpoint = Callable[..., Path]
Tensors = dict[str, Any]
WEIGHTS = "pytorch_model.bin"


@pytest.fixture
def tensors(checkpoint: Path) -> Tensors:
    found = load_file(checkpoint / "model.safetensors")
    return {name: torch.from_numpy(values) for name, values in found.items()}


@pytest.fixture
def folder(make_checkpoint: MakeCheckpoint) -> Path:
    """A checkpoint without weights."""
    made = make_checkpoint()
    (made / "model.safetensors").unlink()
    return made


def check(folder: Path, wanted: Tensors) -> None:
    checkpoint = open_checkpoint(folder)
    assert set(checkpoint.tensor_names) == set(wanted)
    for name, tensor in wanted.items():
        found = checkpoint.load(name)
        assert found.dtype == np.float32
        assert np.array_equal(found, tensor.float().numpy()), name


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("kind", ["tensors", "parameters", "views of one storage"])
def test_every_format_type_and_kind_of_tensor_is_read(
    folder: Path, tensors: Tensors, zipped: bool, dtype: str, kind: str
) -> None:
    saved = OrderedDict((n, t.to(getattr(torch, dtype))) for n, t in tensors.items())
    wanted = dict(saved)
    if kind == "parameters":
        saved = OrderedDict((n, torch.nn.Parameter(t)) for n, t in saved.items())
    elif kind == "views of one storage":
        saved = OrderedDict((n, torch.stack([t, t])[1]) for n, t in saved.items())
        saved["lm_head.weight"] = saved["wte.weight"]
    torch.save(saved, folder / WEIGHTS, _use_new_zipfile_serialization=zipped)
    check(folder, wanted)
    assert list(open_checkpoint(folder).notes()) == []


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_shards_are_read_together(folder: Path, tensors: Tensors, zipped: bool) -> None:
    weight_map: dict[str, str] = {}
    for i in range(2):
        name, part = f"pytorch_model-{i + 1:05}-of-00002.bin", dict(list(tensors.items())[i::2])
        torch.save(part, folder / name, _use_new_zipfile_serialization=zipped)
        weight_map |= dict.fromkeys(part, name)
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": weight_map}))
    check(folder, tensors)


def test_a_tied_head_with_other_values_gives_a_warning(folder: Path, tensors: Tensors) -> None:
    torch.save(tensors | {"lm_head.weight": tensors["wte.weight"] + 1}, folder / WEIGHTS)
    check(folder, tensors)
    (note,) = open_checkpoint(folder).notes()
    assert note.startswith("left out lm_head.weight, which differs from wte.weight: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"wte.weight": torch.zeros(1)}, "epoch": 3}, r"\(model, epoch\): it is the state"),
        ({"state_dict": {}}, r"\(state_dict\): it is the state of a training run"),
        ({0: torch.zeros(1)}, r"\(0\): it is the state"),
        ([torch.zeros(1)], "holds a list, not tensors by name"),
        (torch.zeros(1), "holds a Tensor, not tensors by name"),
    ],
)  # fmt: skip
def test_other_content_than_a_state_dict_is_refused(
    folder: Path, content: object, message: str
) -> None:
    torch.save(content, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensor: tensor.double(), "torch.float64"),
        (lambda tensor: tensor.to(torch.int8), "torch.int8"),
        (lambda tensor: tensor.to_sparse(), "torch.sparse_coo"),
    ],
)
def test_another_type_is_refused(
    folder: Path, tensors: Tensors, change: Callable[[Any], Any], said: str
) -> None:
    torch.save(tensors | {"ln_f.bias": change(tensors["ln_f.bias"])}, folder / WEIGHTS)
    with pytest.raises(CheckpointError, match=f"tensor 'ln_f.bias' is {said}; supported are F32"):
        open_checkpoint(folder)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("ran").touch, ())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before 1.6"])
def test_no_code_of_a_file_runs(
    folder: Path, zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"x": Malicious()}, folder / WEIGHTS, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="cannot be read as PyTorch weights"):
        open_checkpoint(folder)
    assert not Path("ran").exists()


@pytest.mark.parametrize("version", ["1.13.1", "2.5.1+cu124"])
def test_a_torch_that_runs_code_of_weight_files_is_refused(
    folder: Path, tensors: Tensors, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(tensors, folder / WEIGHTS)
    monkeypatch.setattr("torch.__version__", version)
    with pytest.raises(CheckpointError) as error:
        open_tensor_file(folder / WEIGHTS)
    assert f"with torch {version}, with which" in str(error.value)
    assert "CVE-2025-32434): update torch to 2.6 or newer, or convert" in str(error.value)
    monkeypatch.setattr("torch.__version__", "2.6.0")
    open_tensor_file(folder / WEIGHTS)


def test_a_git_lfs_pointer_is_refused(folder: Path) -> None:
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\nsize 5\n")
    with pytest.raises(CheckpointError, match=f"{WEIGHTS}' is a Git LFS pointer"):
        open_checkpoint(folder)
