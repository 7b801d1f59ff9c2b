"""gpt2xl.json: its values, and errors for values of a wrong type."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gpt2xl import BundleError
from gpt2xl.bundle.manifest import Calibration, FileEntry, Manifest, read_manifest

SUM = "0" * 64
WHOLE: dict[str, Any] = {
    "format": 1,
    "source": {"name": "tiny", "revision": None, "sha256": {"model.safetensors": SUM}},
    "precision": "int8",
    "kv": "int8",
    "long_step_from": 12,
    "keep": ["fp32:h.0.*"],
    "block_size": 64,
    "backend": "gpt2xl",
    "calibration": {
        "text": "page",
        "tokens": 288,
        "equalized": ["h.0.attn.c_attn", "h.0.mlp.c_fc"],
        "divided": ["h.0.mlp.c_proj"],
        "errors": {"h.0.attn.c_attn.weight": 0.01},
    },
    "passes": {"wte.weight": {"method": "int8", "max_abs_error": 0.5, "relative_error": 1}},
    "parity": {
        "prompts": 3,
        "engine": {"whole": {"max_abs_logit_diff": 1, "mean_kl": 0.1, "top1_agreement": 1.0}},
    },
    "files": {"config.json": {"size": 3, "sha256": SUM}},
}


def read(folder: Path, content: object) -> Manifest | None:
    (folder / "gpt2xl.json").write_text(json.dumps(content))
    return read_manifest(folder)


def test_a_whole_manifest_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, WHOLE)
    assert found is not None
    assert found.source is not None
    assert (found.precision, found.kv, found.keep) == ("int8", "int8", ("fp32:h.0.*",))
    assert found.long_step_from == 12
    assert (found.source.name, found.source.revision) == ("tiny", None)
    assert found.calibration == Calibration(
        "page", 288, ("h.0.attn.c_attn", "h.0.mlp.c_fc"), ("h.0.mlp.c_proj",)
    )
    assert found.passes["wte.weight"].relative_error == 1.0
    assert found.parity["engine"]["whole"].mean_kl == 0.1
    assert found.files == {"config.json": FileEntry(3, SUM)}
    assert found.content == WHOLE
    assert not found.is_float32


def test_what_an_export_writes_is_read(bundle: Path) -> None:
    found = read_manifest(bundle)
    assert found is not None
    assert found.is_float32
    assert found.long_step_from is None
    assert set(found.parity) == {"portable", "engine"}
    assert found.parity["engine"]["stepwise"].top1_agreement == 1.0


def test_an_older_manifest_has_no_calibration(tmp_path: Path) -> None:
    older = {key: value for key, value in WHOLE.items() if key != "calibration"}
    for content in (older, older | {"calibration": None}):
        found = read(tmp_path, content)
        assert found is not None
        assert found.calibration is None
        assert found.precision == "int8"


def test_a_missing_and_an_empty_manifest_are_read(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    assert read(tmp_path, {}) == Manifest(parity={"portable": {}, "engine": {}})
    (tmp_path / "gpt2xl.json").unlink()
    (tmp_path / "gpt2xl.json").symlink_to("nowhere")
    with pytest.raises(BundleError, match=r"gpt2xl\.json' does not exist"):
        read_manifest(tmp_path)


FOREIGN: dict[str, list[Any]] = {  # key -> values it cannot have
    "source": [3, "tiny", []],
    "source.name": [3, None, ["tiny"]],
    "source.revision": [3, {}],
    "source.sha256": [[], "x"],
    "source.sha256.model.safetensors": [3, None],
    "precision": [3, ["fp32"], {}],
    "kv": [None, "fp8", 3, []],
    "long_step_from": ["9", 1, -9, 9.5, True, []],
    "keep": ["x", {"a": 1}, 3],
    "keep[0]": [3, None, []],
    "backend": [None, 3],
    "calibration": [3, "page", []],
    "calibration.text": [3, None, []],
    "calibration.tokens": ["288", 2.5, None, True],
    "calibration.equalized": ["x", 3, {"a": 1}],
    "calibration.equalized[0]": [3, None],
    "calibration.divided": ["x", 3],
    "passes": [[], 3],
    "passes.wte.weight": [3, "x", []],
    "passes.wte.weight.method": [3, None],
    "passes.wte.weight.relative_error": ["x", None, True, 10**400],
    "parity": [[], "x"],
    "parity.engine": [3, []],
    "parity.engine.whole": [3, "x"],
    "parity.engine.whole.mean_kl": ["0.1", None, [0.1], False],
    "parity.engine.whole.top1_agreement": [{}, "x"],
    "files": [[], 3, "x"],
    "files.config.json": [3, []],
    "files.config.json.size": ["3", 3.0, -1, None, True],
    "files.config.json.sha256": [3, None],
}
STEPS: dict[
    str, list[Any]
] = {  # where a key lies in WHOLE, when its names have points or are numbers
    "source.sha256.model.safetensors": ["source", "sha256", "model.safetensors"],
    "keep[0]": ["keep", 0],
    "calibration.equalized[0]": ["calibration", "equalized", 0],
}


def steps(key: str) -> list[Any]:
    for name in ("wte.weight", "config.json"):
        if f".{name}" in key:
            before, _, after = key.partition(f".{name}")
            return [before, name, *after.split(".")[1:]]
    return STEPS.get(key) or key.split(".")


@pytest.mark.parametrize("key", FOREIGN)
def test_a_value_of_a_wrong_type_is_named(tmp_path: Path, key: str) -> None:
    for value in FOREIGN[key]:
        content = place = copy.deepcopy(WHOLE)
        *path, last = steps(key)
        for step in path:
            place = place[step]
        place[last] = value
        with pytest.raises(BundleError) as caught:
            read(tmp_path, content)
        assert f"gpt2xl.json': {key} has to be " in str(caught.value)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "C:\\a", "a\0b", ""])
def test_files_outside_the_bundle_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError, match="which is outside the bundle"):
        read(tmp_path, {"files": {name: {"size": 1, "sha256": SUM}}})


def test_a_pipe_in_place_of_the_manifest_is_refused(bundle: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle, tmp_path / "copy")
    (folder / "gpt2xl.json").unlink()
    (folder / "gpt2xl.json").mkdir()
    with pytest.raises(BundleError, match=r"gpt2xl\.json' is not a regular file"):
        read_manifest(folder)
