"""gpt2xl export: what it prints, and what it refuses to overwrite."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import gpt2xl_export.progress

Run = Callable[..., CompletedProcess[str]]
Refused = Callable[..., str]


@pytest.fixture
def old(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that an export may replace, with a file that marks it."""
    copy = shutil.copytree(bundle, tmp_path / "old")
    (copy / "mark").write_text("mine")
    return copy


def test_export_prints_a_summary(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    done = run("export", checkpoint, "out")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"Wrote out: fp32, \d+\.\d kB\.", first)
    page = json.loads(Path("out/gpt2xl.json").read_text())["parity"]["portable"]["page"]
    assert second == (
        f"Same next token as the checkpoint at 100 % of {page['positions']} positions,"
        f" probabilities {page['mean_kl']:.2g} nats apart (mean KL divergence; 0 is equal):"
        " exact but for float rounding."
    )
    assert sorted(os.listdir(tmp_path)) == ["cache", "out"]
    assert run("generate", "-m", "out", "Once", "--greedy").returncode == 0


def test_json_is_the_manifest(run: Run, checkpoint: Path) -> None:
    done = run("export", checkpoint, "new/out", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(Path("new/out/gpt2xl.json").read_text())


def test_the_folder_has_the_usual_permissions(run: Run, checkpoint: Path) -> None:
    run("export", checkpoint, "out")
    Path("usual").mkdir()
    assert Path("out").stat().st_mode == Path("usual").stat().st_mode


OPTIONS = {
    "--block-size 7": "--block-size has to be a power of 2, at least 16, but is 7",
    "--block-size -32": "--block-size has to be a power of 2, at least 16, but is -32",
    "--keep fp99:h.0.*": "'fp99:h.0.*': the format has to be one of fp32",
    "--keep fp32:h.9.*": "'fp32:h.9.*' matches no weight",
    "-p fp16 --kv int8": "fp16 cannot be combined with keep rules or an int8 KV cache",
    "--revision main": "is a local folder: it has no revision 'main'",
}


@pytest.mark.parametrize(("options", "message"), OPTIONS.items(), ids=OPTIONS)
def test_an_option_out_of_its_range_is_named(
    options: str, message: str, refused: Refused, checkpoint: Path
) -> None:
    assert message in refused("export", checkpoint, "out", *options.split())


@pytest.mark.parametrize("options", ["-p int8", "-p int4 --block-size 32 --keep fp32:h.0.*"])
def test_a_precision_is_named_in_the_summary_and_runs(
    options: str, run: Run, checkpoint: Path
) -> None:
    done = run("export", checkpoint, "out", *options.split())
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Wrote out: {options.split()[1]}, ")
    assert run("generate", "-m", "out", "Once", "--greedy").returncode == 0


@pytest.fixture
def two_heads(checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint with a tensor that an export leaves out."""
    copy = Path(shutil.copytree(checkpoint, tmp_path / "two-heads"))
    path = copy / "model.safetensors"
    save_file(load_file(path) | {"v_head.weight": np.zeros((1, 32), np.float32)}, path)
    return copy


LEFT_OUT = (
    "warning: left out v_head.weight: it belongs to another head and does not affect the logits.\n"
)


@pytest.mark.filterwarnings("always::gpt2xl.errors.Gpt2xlWarning")
def test_what_is_left_out_follows_the_summary(run: Run, two_heads: Path) -> None:
    done = run("export", two_heads, "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Wrote out: fp32, ")
    assert done.stdout.endswith(f"\n{LEFT_OUT}")


@pytest.mark.filterwarnings("always::gpt2xl.errors.Gpt2xlWarning")
def test_what_is_left_out_is_printed_before_an_error(run: Run, two_heads: Path) -> None:
    (two_heads / "tokenizer.json").write_text("{}")
    done = run("export", two_heads, "out")
    assert (done.returncode, done.stdout) == (1, "")
    first, last = done.stderr.splitlines(keepends=True)
    assert first == LEFT_OUT
    assert last.startswith("error: ")


@pytest.mark.filterwarnings("always::gpt2xl.errors.Gpt2xlWarning")
def test_with_json_what_is_left_out_is_on_stderr(run: Run, two_heads: Path) -> None:
    done = run("export", two_heads, "out", "--json")
    assert (done.returncode, done.stderr) == (0, LEFT_OUT)
    assert json.loads(done.stdout)["precision"] == "fp32"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A PEFT adapter that changes one weight a lot."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "base_model_name_or_path": "tiny"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    stem = "base_model.model.transformer.h.0.mlp.c_fc.lora_"
    a, b = np.ones((2, 32), np.float32), np.ones((128, 2), np.float32)
    save_file({f"{stem}A.weight": a, f"{stem}B.weight": b}, folder / "adapter_model.safetensors")
    return folder


def test_an_adapter_is_merged_named_and_verified(
    run: Run, checkpoint: Path, bundle: Path, adapter: Path
) -> None:
    done = run("export", checkpoint, "out", "--adapter", adapter)
    assert (done.returncode, done.stderr) == (0, "")
    texts = [run("generate", "-m", b, "Once", "--greedy").stdout for b in ("out", bundle)]
    assert texts[0] != texts[1]
    assert "tiny, with the adapter adapter\n" in run("info", "out").stdout
    assert run("verify", "out", "--source", checkpoint, "--adapter", adapter).returncode == 0
    without = run("verify", "out", "--source", checkpoint)
    assert without.returncode == 1
    assert "an adapter was merged (adapter): give it as `--adapter`." in without.stderr


def test_an_adapter_without_its_model_is_refused_with_the_command(
    refused: Refused, adapter: Path
) -> None:
    hint = f"is an adapter for the model tiny, not a model: run `gpt2xl export tiny OUT --adapter {adapter}`."
    assert hint in refused("export", adapter, "out")
    assert hint in refused("generate", "-m", adapter, "Once")
    assert hint in refused("info", adapter)


@pytest.mark.parametrize("name", ["nowhere", "checkpoint/config.json"])
def test_an_adapter_that_is_not_a_folder_is_refused(
    name: str, refused: Refused, checkpoint: Path
) -> None:
    Path("checkpoint").symlink_to(checkpoint)
    said = f"'{name}' is not a folder, nor an adapter's name on the hub"
    assert said in refused("export", checkpoint, "out", "--adapter", name)


@pytest.mark.parametrize("kind", ["file", "folder", "link", "bundle"])
def test_an_existing_output_is_refused(
    kind: str, refused: Refused, checkpoint: Path, bundle: Path
) -> None:
    out = Path("out")
    if kind == "file":
        out.write_text("precious")
    elif kind == "folder":
        out.mkdir()
    else:
        out.symlink_to(bundle if kind == "bundle" else "nowhere")
    assert "'out' exists already" in refused("export", checkpoint, out)


@pytest.mark.parametrize("kind", ["file", "empty folder", "folder", "link"])
def test_force_replaces_only_bundles(kind: str, refused: Refused, checkpoint: Path) -> None:
    out = Path("out")
    if kind == "file":
        out.write_text("precious")
    elif kind == "link":
        out.symlink_to("nowhere")
    else:
        out.mkdir()
    if kind == "folder":
        (out / "config.json").write_text("precious")
    assert "'out' exists and is not a gpt2xl bundle" in refused(
        "export", checkpoint, out, "--force"
    )
    assert kind != "folder" or (out / "config.json").read_text() == "precious"


def test_force_replaces_a_whole_bundle(
    run: Run, old: Path, checkpoint: Path, tmp_path: Path
) -> None:
    assert run("export", checkpoint, old, "--force").returncode == 0
    assert not (old / "mark").exists()
    assert run("generate", "-m", old, "Once").returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["cache", "old"]


def test_force_without_an_existing_output_is_allowed(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    assert run("export", checkpoint, "out", "--force").returncode == 0
    assert sorted(os.listdir(tmp_path)) == ["cache", "out"]


def test_force_replaces_the_target_of_a_link(
    run: Run, old: Path, checkpoint: Path, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(old)
    assert run("export", checkpoint, link, "--force").returncode == 0
    assert link.is_symlink()
    assert not (old / "mark").exists()
    assert sorted(os.listdir(tmp_path)) == ["cache", "link", "old"]


@pytest.mark.parametrize("place", [".", "original"])
def test_force_never_replaces_a_checkpoint_inside_the_bundle(
    place: str, refused: Refused, old: Path, checkpoint: Path
) -> None:
    source = old / place
    shutil.copytree(checkpoint, source, dirs_exist_ok=True)
    assert "holds safetensors" in refused("export", source, old, "--force")
    assert (old / "mark").read_text() == "mine"


def test_a_failed_export_leaves_the_old_bundle(
    refused: Refused, old: Path, make_checkpoint: Callable[..., Path]
) -> None:
    broken = make_checkpoint()
    (broken / "tokenizer.json").write_text("{")
    assert "tokenizer.json" in refused("export", broken, old, "--force")
    assert (old / "mark").read_text() == "mine"


def test_a_failed_rename_restores_the_old_bundle(
    refused: Refused, old: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stubborn(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise PermissionError(13, "Permission denied")
        return real(self, target)

    real = Path.rename
    monkeypatch.setattr(Path, "rename", stubborn)
    message = refused("export", checkpoint, old, "--force")
    assert "cannot be written: Permission denied" in message
    assert (old / "mark").read_text() == "mine"


def test_a_folder_that_appears_during_the_export_is_not_touched(
    run: Run,
    error_line: Callable[[CompletedProcess[str]], str],
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def overtaken(*arguments: Any) -> Any:
        Path("out").mkdir(exist_ok=True)
        return real(*arguments)

    real = gpt2xl_export.progress.Progress
    monkeypatch.setattr("gpt2xl_export.progress.Progress", overtaken)
    assert "'out' exists already" in error_line(run("export", checkpoint, "out"))
    assert list(tmp_path.rglob("*")) == [tmp_path / "out"]


@pytest.mark.filterwarnings("default::RuntimeWarning")
@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_nan_or_infinite_are_one_error_line(
    precision: str, value: float, checkpoint: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    copy = Path(shutil.copytree(checkpoint, tmp_path / "damaged"))
    tensors = load_file(copy / "model.safetensors")
    tensors["h.1.mlp.c_fc.weight"][:] = value
    save_file(tensors, copy / "model.safetensors")
    assert "overflow or are not finite" in refused("export", copy, "out", "-p", precision)


def test_a_chosen_precision_says_what_was_chosen_and_what_it_costs(
    run: Run, checkpoint: Path, tmp_path: Path
) -> None:
    result = run("export", checkpoint, tmp_path / "out", "-p", "auto", "--max-kl", "0.01")
    wrote, chose, *_ = result.stdout.splitlines()
    assert wrote.startswith(f"Wrote {tmp_path / 'out'}: int4, ")
    assert re.match(
        r"Chose .* for \d+ matrices\. On \d+ tokens of .*: probabilities 0\.00\d+ nats apart", chose
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-p", "auto"), "needs one of --max-kl, --max-size, --max-perplexity-loss"),
        (("-p", "auto", "--max-size", "1kB"), "the nearest is about --max-size"),
        (("-p", "int8", "--max-size", "1kB"), "--max-size needs the precision auto"),
    ],
)
def test_a_budget_that_does_not_fit_is_one_line(
    refused: Refused, checkpoint: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    assert message in refused("export", checkpoint, tmp_path / "out", *options)


def test_a_size_that_is_none_is_wrong_usage(run: Run, checkpoint: Path, tmp_path: Path) -> None:
    result = run("export", checkpoint, tmp_path / "out", "-p", "auto", "--max-size", "many")
    assert result.returncode == 2
    assert "is no size such as 900MB" in " ".join(result.stderr.split())
