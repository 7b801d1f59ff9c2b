"""Bundles of models with a name: the real demo, and names on the hub."""

import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import gpt2xl
from gpt2xl import CheckpointError, ExportError
from gpt2xl_export import Progress, bundle_of, export, named_models
from gpt2xl_export.output.staging import claimed
from gpt2xl_export.places import bundle_names, name_in_cache
from gpt2xl_export.source.hub import Plan
from gpt2xl_export.source.hub_files import HubFile

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("GPT2XL_CACHE", str(folder))
    return folder


@pytest.fixture
def small_demo(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny random model instead of the demo."""
    monkeypatch.setattr(named_models, "demo_checkpoint", lambda: checkpoint)
    return checkpoint


def test_the_demo_is_exported_at_its_first_use_and_generates(cache: Path) -> None:
    notes: list[str] = []
    seen: list[Progress] = []
    bundle = bundle_of("demo", seen.append, note=notes.append)
    assert bundle.parent == cache
    assert notes == [f"First use: exporting {ROOT / 'models' / 'demo'} as int8-weight to {bundle}"]
    assert {progress.stage for progress in seen} == {"hash", "tokenizer", "weights", "check"}
    text = gpt2xl.load(bundle).generate("Once upon a time", max_new_tokens=20, seed=1).text
    assert len(text.split()) > 8

    before = {path: path.stat().st_mtime_ns for path in bundle.rglob("*")}
    notes.clear()
    seen.clear()
    assert bundle_of("demo", seen.append, note=notes.append) == bundle
    assert (notes, seen) == ([], [])
    assert {path: path.stat().st_mtime_ns for path in bundle.rglob("*")} == before


def test_the_demo_of_a_wheel_is_not_exported_again(
    bundle: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_models, "demo_bundle", lambda: bundle)
    assert bundle_of("demo") == bundle
    assert not cache.exists()


def test_the_entry_point_finds_the_function() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    value = project["entry-points"]["gpt2xl.models"]["default"]
    assert EntryPoint("default", value, "gpt2xl.models").load() is bundle_of


def test_a_bundle_in_the_cache_is_found_without_onnx(small_demo: Path) -> None:
    bundle = bundle_of("demo")
    code = (
        "import sys; from pathlib import Path; from gpt2xl_export import named_models;"
        "named_models.demo_checkpoint = lambda: Path(sys.argv[1]);"
        "print(named_models.bundle_of('demo'));"
        "assert not {'onnx', 'onnx_ir', 'safetensors', 'huggingface_hub'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(small_demo)]
    assert subprocess.check_output(command, text=True).strip() == str(bundle)


def test_another_demo_gets_another_bundle(
    small_demo: Path,
    make_checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = bundle_of("demo")
    monkeypatch.setattr(named_models, "demo_checkpoint", lambda: make_checkpoint(seed=1))
    assert bundle_of("demo") != first


def test_another_precision_of_the_demo_gets_another_bundle(
    small_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = named_models.demo_folder()
    monkeypatch.setattr(named_models, "DEMO_PRECISION", "int8")
    second = named_models.demo_folder()
    assert first != second
    for folder in (first, second):
        folder.mkdir(parents=True)
        assert name_in_cache(folder) is None
    assert bundle_names() == []


def test_it_waits_for_another_process_that_makes_the_bundle(small_demo: Path) -> None:
    notes: list[str] = []
    bundle = bundle_of("demo")
    for path in sorted(bundle.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    bundle.rmdir()

    with claimed(bundle, force=False):
        waiting = threading.Event()

        def tell(note: str) -> None:
            notes.append(note)
            if note.startswith("Waiting"):
                waiting.set()

        found: list[Path] = []
        thread = threading.Thread(target=lambda: found.append(bundle_of("demo", note=tell)))
        thread.start()
        assert waiting.wait(30)
    thread.join(60)
    assert found == [bundle]
    assert [note.partition(" ")[0] for note in notes] == ["First", "Waiting"]
    assert notes[1] == f"Waiting for another gpt2xl, which is making {bundle}"


def test_a_faster_process_is_not_an_error(
    small_demo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[Path] = []

    def overtaken(source: object, target: Path, *rest: object, **more: object) -> None:
        calls.append(target)
        export(small_demo, target)
        raise ExportError(f"'{target}' exists already.")

    monkeypatch.setattr("gpt2xl_export.exporting.export", overtaken)
    assert bundle_of("demo") == calls[0]


@pytest.mark.parametrize("name", ["no model", "../demo", "", "a/b/c"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(CheckpointError, match="is neither 'demo' nor a model's name on the hub"):
        bundle_of(name)


def test_a_demo_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_models, "demo_checkpoint", lambda: tmp_path)
    with pytest.raises(CheckpointError, match=r"model\.safetensors' are missing"):
        bundle_of("demo")


def test_a_name_on_the_hub_is_downloaded_and_exported_as_int8(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (HubFile("config.json", 1_000, None), HubFile("model.safetensors", 4_000_000, None))
    monkeypatch.setattr(Plan, "download_size", 2_000_000)
    monkeypatch.setattr(
        "gpt2xl_export.source.sources.plan",
        lambda source, revision, *, adapter: Plan(f"owner/{source}", "abc", files, "main"),
    )
    monkeypatch.setattr("gpt2xl_export.source.sources.download", lambda plan, progress: checkpoint)
    notes: list[str] = []
    bundle = bundle_of("gpt2-xl", note=notes.append)
    assert bundle == cache / f"gpt2-xl-int8-{gpt2xl.__version__}"
    download, _, free = notes[0].partition(" Disk space needed: ")
    assert download == (
        "Downloading owner/gpt2-xl: 2.0 MB of 4.0 MB, the rest is in the cache, less than 1 min at"
        " 100 Mbit/s."
    )
    assert free.startswith("3.0 MB, with the int8 bundle, about 1.0 MB; ")
    assert "are free" in free
    assert bundle_of("openai-community/gpt2-xl") == bundle  # the alias and the name share it
    assert len(notes) == 1
    model = gpt2xl.load(bundle)
    assert model.config.n_layer == 2


def test_without_the_extra_it_is_named(small_demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "gpt2xl_export.exporting", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ExportError, match=r"`pip install 'gpt2xl\[export,hub\]'` \(onnx is not"):
        bundle_of("demo")
