"""From checkpoint folder to bundle folder: what is written, and that nothing wrong ever is."""

import dataclasses
import hashlib
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import gpt2xl_export.output.graphs
import gpt2xl_export.reference.forward
from gpt2xl import CheckpointError, ExportError, GPT2Config, ParityError, RequestError, load
from gpt2xl_export import Progress
from gpt2xl_export.exporting import export
from gpt2xl_export.graph.engine import build_engine
from gpt2xl_export.graph.portable import build_portable
from gpt2xl_export.options import ExportOptions
from gpt2xl_export.reference.forward import Reference
from gpt2xl_export.source.sources import Source

MakeCheckpoint = Callable[..., Path]


def names(folder: Path) -> set[str]:
    """Every file below ``folder``."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_bundle_holds_both_graphs_one_weights_file_and_its_companions(bundle: Path) -> None:
    assert names(bundle) == {
        "README.md",
        "config.json",
        "genai_config.json",
        "generation_config.json",
        "gpt2xl.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "onnx/engine.onnx",
        "onnx/model.onnx",
        "onnx/model.onnx_data",
    }


def test_the_manifest_has_size_and_hash_of_every_file_but_itself(bundle: Path) -> None:
    files = json.loads((bundle / "gpt2xl.json").read_text())["files"]
    assert set(files) == names(bundle) - {"gpt2xl.json"}
    for name, entry in files.items():
        content = (bundle / name).read_bytes()
        assert entry == {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}, name


def test_the_manifest_tells_source_tools_and_parity(bundle: Path, checkpoint: Path) -> None:
    manifest = json.loads((bundle / "gpt2xl.json").read_text())
    weights = hashlib.sha256((checkpoint / "model.safetensors").read_bytes()).hexdigest()
    assert manifest["format"] == 1
    assert manifest["precision"] == "fp32"
    assert manifest["source"] == {
        "name": "tiny",
        "revision": None,
        "sha256": {"model.safetensors": weights},
    }
    assert manifest["tools"]["numpy"] == np.__version__
    assert manifest["passes"] == {}
    assert manifest["parity"]["tolerance"]["relative_logit_diff"] == 1e-4
    for graph in ("portable", "engine"):
        for mode in ("whole", "stepwise"):
            assert manifest["parity"][graph][mode]["relative_logit_diff"] < 1e-5


def test_the_manifest_is_returned_as_written(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export(checkpoint, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "gpt2xl.json").read_text())
    assert written == json.loads(json.dumps(manifest))


def test_a_source_on_the_hub_is_named_with_its_revision(checkpoint: Path, tmp_path: Path) -> None:
    manifest = export(Source(checkpoint, "owner/name", "abc123"), tmp_path / "out")
    assert manifest["source"]["name"] == "owner/name"
    assert manifest["source"]["revision"] == "abc123"


def test_the_same_checkpoint_gives_the_same_files(
    checkpoint: Path, bundle: Path, tmp_path: Path
) -> None:
    export(checkpoint, tmp_path / "again")
    for name in names(bundle):
        assert (bundle / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("precision", "tied", "more"),
    [
        ("fp32", True, {}),
        ("fp16", False, {}),
        ("int8", True, {"keep": ("fp32:h.0.*",)}),
        ("int4", False, {"kv": "float"}),
        ("int4", True, {"rounding": "nearest", "keep": ("int8:h.1.*", "int4:wte.weight")}),
    ],
)
def test_progress_counts_all_work_in_small_steps(
    precision: str,
    tied: bool,
    more: dict[str, Any],
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
) -> None:
    source = make_checkpoint({"n_layer": 4, "tie_word_embeddings": tied})
    seen: list[Progress] = []
    options = ExportOptions(precision, **more)
    export(source, tmp_path / "out", options, progress=seen.append)
    by_stage = {
        stage: [p for p in seen if p.stage == stage]
        for stage in dict.fromkeys(p.stage for p in seen)
    }
    writes = options.precision == "int4" and options.rounding == "auto"
    assert [*by_stage] == ["hash", "tokenizer", *["text"] * writes, "weights", "check"]
    for found in by_stage.values():
        assert {p.total for p in found} == {found[-1].done}
        assert [p.done for p in found] == sorted(p.done for p in found)
    for stage in ("weights", "check"):
        steps = [b.done - a.done for a, b in pairwise(by_stage[stage])]
        assert max(steps) <= by_stage[stage][-1].total / 3
    shares = [p.share for p in seen if p.share is not None]
    assert shares == sorted(shares)
    assert len(shares) == len(seen)
    assert shares[-1] == pytest.approx(1)


Build = Callable[[GPT2Config, Callable[[str], Any]], Any]


def with_a_wrong_epsilon(build: Build) -> Build:
    return lambda config, load: build(dataclasses.replace(config, layer_norm_epsilon=0.01), load)


def with_one_wrong_weight(build: Build) -> Build:
    def corrupted(config: GPT2Config, load: Callable[[str], Any]) -> Any:
        def wrong(name: str) -> Any:
            values = load(name).copy()
            if name == "h.1.mlp.c_proj.weight":
                values[3, 4] += 0.1
            return values

        return build(config, wrong)

    return corrupted


@pytest.mark.parametrize("sabotage", [with_a_wrong_epsilon, with_one_wrong_weight])
@pytest.mark.parametrize(
    ("kind", "build"), [("portable", build_portable), ("engine", build_engine)]
)
@pytest.mark.parametrize("force", [False, True])
def test_a_sabotaged_graph_fails_the_export_and_leaves_nothing_behind(
    make_checkpoint: MakeCheckpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    sabotage: Callable[[Build], Build],
    kind: str,
    build: Build,
    force: bool,
) -> None:
    source, out = make_checkpoint(), tmp_path / "outs" / "out"
    out.parent.mkdir()
    if force:
        export(source, out)
    before = names(tmp_path)
    monkeypatch.setattr(gpt2xl_export.output.graphs, f"build_{kind}", sabotage(build))
    if sabotage is with_one_wrong_weight and kind == "engine":
        # The weights file is shared and the portable graph writes it first, so both are wrong.
        monkeypatch.setattr(gpt2xl_export.output.graphs, "build_portable", sabotage(build_portable))
    with pytest.raises(ParityError, match=r"the \w+ graph, whole: relative_logit_diff is"):
        export(source, out, force=force)
    assert names(tmp_path) == before
    assert [path.name for path in out.parent.iterdir()] == ["out"] * force


def test_an_oracle_that_disagrees_fails_the_export(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reference, "block", lambda self, layer, states: [x + 1 for x in states])
    with pytest.raises(ParityError, match="the portable graph, whole"):
        export(checkpoint, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_fail_the_export(
    make_checkpoint: MakeCheckpoint, tmp_path: Path, value: float
) -> None:
    source = make_checkpoint()
    tensors = load_file(source / "model.safetensors")
    tensors["h.0.ln_2.weight"][:] = value
    save_file(tensors, source / "model.safetensors")
    with pytest.raises(ParityError, match="is nan"):
        export(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stage", ["hash", "weights", "check"])
def test_an_interrupted_export_leaves_nothing_behind(
    checkpoint: Path, tmp_path: Path, stage: str
) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.stage == stage and progress.done > 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(checkpoint, tmp_path / "out", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_before_any_work(checkpoint: Path, tmp_path: Path) -> None:
    def never(progress: Progress) -> None:
        raise AssertionError(progress)

    with pytest.raises(ExportError, match="exists already"):
        export(checkpoint, tmp_path, progress=never)


def test_force_replaces_a_bundle_and_the_new_one_loads(
    checkpoint: Path, make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    export(checkpoint, tmp_path / "out")
    export(make_checkpoint({"n_layer": 1}), tmp_path / "out", force=True)
    assert load(tmp_path / "out").config.n_layer == 1


def test_an_unknown_precision_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"precision has to be one of fp32, .*, but is 'fp64'"):
        export(checkpoint, tmp_path / "out", ExportOptions("fp64"))


def test_an_unknown_activation_is_refused_with_the_known_ones(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="'prelu' is not supported; these are: gelu_new, "):
        export(make_checkpoint({"activation_function": "prelu"}), tmp_path / "out")


def test_a_tokenizer_of_another_model_is_refused(
    make_checkpoint: MakeCheckpoint, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="has id 100, but config"):
        export(make_checkpoint({"vocab_size": 100}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_relative_path_and_a_name_with_odd_characters_work(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    export(checkpoint, Path("größe & 'co' %s"))
    assert len(load("größe & 'co' %s").generate("Once", max_new_tokens=1).new_ids) == 1
