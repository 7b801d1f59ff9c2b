"""gpt2xl info."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Run = Callable[..., CompletedProcess[str]]


def test_info_shows_what_a_bundle_holds(run: Run, bundle: Path) -> None:
    done = run("info", bundle)
    assert (done.returncode, done.stderr) == (0, "")
    lines = dict(line.split("  ", 1) for line in done.stdout.splitlines())
    facts = {name: value.strip() for name, value in lines.items()}
    assert facts["Folder"] == str(bundle)
    assert facts["Precision"] == "fp32"
    assert facts["Model"] == "2 layers, 2 heads, 32 wide, context 96, vocabulary 289"
    assert facts["Graphs"] == "onnx/engine.onnx, onnx/model.onnx"
    assert facts["Source"] == "tiny"
    assert facts["Exactness"].startswith("same next token as the checkpoint at 100 % of a text")
    assert facts["Exactness"].endswith("exact but for float rounding")


@pytest.mark.parametrize("kept", ["portable", "engine"])
def test_the_exactness_is_in_words_whatever_was_compared(
    kept: str, run: Run, bundle: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    manifest = json.loads((bundle / "gpt2xl.json").read_text())
    manifest["parity"] = {kept: manifest["parity"][kept]}
    if kept == "engine":
        del manifest["parity"][kept]["page"]  # as older versions wrote it
    (copy / "gpt2xl.json").write_text(json.dumps(manifest))
    printed = run("info", copy).stdout
    (line,) = [line for line in printed.splitlines() if line.startswith("Exactness")]
    assert line.endswith("exact but for float rounding")
    assert printed.count("KL") == 1


def test_json_has_the_figures_of_the_manifest(run: Run, bundle: Path) -> None:
    printed = run("info", bundle, "--json").stdout
    assert printed.count("\n") == 1
    content = json.loads(printed)
    manifest = json.loads((bundle / "gpt2xl.json").read_text())
    assert content["parity"] == manifest["parity"]
    assert content["source"]["name"] == "tiny"
    assert content["config"]["n_embd"] == 32
    sizes = [path.stat().st_size for path in bundle.rglob("*") if path.is_file()]
    assert content["size"] == sum(sizes)


def test_info_shows_the_defaults_of_generation_config(
    run: Run, bundle: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "gpt2xl.json").unlink()  # it has the size of generation_config.json
    assert "Defaults" not in run("info", copy).stdout
    content = {"top_k": 40, "top_p": 0.9, "max_length": 50, "sequence_bias": [[[1, 2], -1.0]]}
    (copy / "generation_config.json").write_text(json.dumps(content))
    (line,) = [
        line for line in run("info", copy).stdout.splitlines() if line.startswith("Defaults")
    ]
    wanted = "max_length 50, top_p 0.9, sequence_bias [((1, 2), -1.0)] (generation_config.json)"
    assert line.split("  ", 1)[1].strip() == wanted
    found = json.loads(run("info", copy, "--json").stdout)["generation_config"]
    assert found == {"max_length": 50, "top_p": 0.9, "sequence_bias": [[[1, 2], -1.0]]}


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_info_shows_what_was_calibrated_and_equalized(
    precision: str, run: Run, make_bundle: Callable[..., Path]
) -> None:
    bundle = make_bundle({}, precision)
    found = json.loads((bundle / "gpt2xl.json").read_text())["calibration"]
    lines = dict(line.split("  ", 1) for line in run("info", bundle).stdout.splitlines())
    facts = {name: value.strip() for name, value in lines.items()}
    text = {"int8": "gpt2xl's page", "int4": "the model's own text and gpt2xl's page"}[precision]
    assert facts["Calibration"] == f"{found['tokens']} tokens of {text}"
    divided = found["divided"]
    assert facts["Equalized"] == f"inputs of {len(found['equalized'])} matrices" + (
        f"; {len(divided)} more in the graph ({', '.join(divided)})" if divided else ""
    )
    assert json.loads(run("info", bundle, "--json").stdout)["calibration"] == found


def test_the_inputs_that_the_graph_divides_are_listed(
    run: Run, bundle: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    manifest = json.loads((bundle / "gpt2xl.json").read_text())
    found = {"text": "a\x1b.txt", "tokens": 9, "equalized": ["a", "b"]}
    for divided, shown in ((["c", "d"], "; 2 more in the graph (c, d)"), ([], "")):
        content = manifest | {"calibration": found | {"divided": divided}}
        (copy / "gpt2xl.json").write_text(json.dumps(content))
        printed = run("info", copy).stdout
        assert f"  inputs of 2 matrices{shown}\n" in printed
        assert "  9 tokens of a\\x1b.txt\n" in printed


def test_amounts_of_one_and_of_none_are_in_words(
    run: Run, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(make_bundle({"n_layer": 1}, "int8"), tmp_path / "copy")
    manifest = json.loads((copy / "gpt2xl.json").read_text())
    for equalized, shown in (([], "none"), (["a"], "inputs of 1 matrix")):
        found = {"text": "a.txt", "tokens": 1, "equalized": equalized, "divided": []}
        content = manifest | {"calibration": found}
        (copy / "gpt2xl.json").write_text(json.dumps(content))
        lines = dict(line.split("  ", 1) for line in run("info", copy).stdout.splitlines())
        facts = {name: value.strip() for name, value in lines.items()}
        assert facts["Equalized"] == shown
        assert facts["Calibration"] == "1 token of a.txt"
        assert facts["Model"].startswith("1 layer, ")


def test_without_calibration_there_is_no_line_of_it(
    run: Run, bundle: Path, make_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    copy = shutil.copytree(make_bundle({}, "int8"), tmp_path / "older")
    manifest = json.loads((copy / "gpt2xl.json").read_text())
    del manifest["calibration"]  # as older versions wrote it
    (copy / "gpt2xl.json").write_text(json.dumps(manifest))
    for folder in (bundle, copy):
        done = run("info", folder)
        assert (done.returncode, done.stderr) == (0, "")
        assert "Calibration" not in done.stdout
        assert "Equalized" not in done.stdout
        assert json.loads(run("info", folder, "--json").stdout)["calibration"] is None
    assert run("generate", "-m", copy, "Once", "-n", 3).returncode == 0


def test_a_folder_without_a_manifest_is_shown(run: Run, bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    (copy / "gpt2xl.json").unlink()
    (copy / "onnx" / "engine.onnx").unlink()
    done = run("info", copy)
    assert done.returncode == 0
    assert "unknown (not exported by gpt2xl)" in done.stdout
    assert "  onnx/model.onnx\n" in done.stdout
    content = json.loads(run("info", copy, "--json").stdout)
    assert (content["precision"], content["engine"]) == (None, None)


@pytest.mark.parametrize("key", ["source", "parity", "precision"])
def test_a_manifest_without_one_of_its_keys_is_shown(
    key: str, run: Run, bundle: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    manifest = json.loads((bundle / "gpt2xl.json").read_text())
    del manifest[key]
    (copy / "gpt2xl.json").write_text(json.dumps(manifest))
    assert run("info", copy).returncode == 0


def test_a_blank_value_is_quoted(run: Run, bundle: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle, tmp_path / "copy")
    manifest = json.loads((bundle / "gpt2xl.json").read_text())
    (copy / "gpt2xl.json").write_text(json.dumps(manifest | {"precision": " "}))
    (line,) = [
        line for line in run("info", copy).stdout.splitlines() if line.startswith("Precision")
    ]
    assert line.endswith("  ' '")


def test_a_folder_name_that_is_not_utf_8_is_escaped(
    spawn: Callable[..., subprocess.Popen[bytes]], bundle: Path, tmp_path: Path
) -> None:
    name = os.fsencode(tmp_path) + b"/\xff"
    os.symlink(bundle, name)
    output, errors = spawn("info", name).communicate(timeout=60)
    assert errors == b""
    assert os.fsencode(tmp_path) + b"/\\udcff\n" in output
