"""Which models are found on this machine, and what is removed of them."""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import gpt2xl
from gpt2xl import BundleError, BusyError, CheckpointError
from gpt2xl.files.atomic import locked
from gpt2xl.files.reading import folder_size
from gpt2xl_export import bundle_of
from gpt2xl_export.inventory import hub_cache
from gpt2xl_export.inventory.listing import find_models, stored_models
from gpt2xl_export.inventory.registry import forget_missing_exports, remember_export
from gpt2xl_export.inventory.removal import remove
from gpt2xl_export.inventory.stored import StoredModel
from gpt2xl_export.places import read_registry, remembered_exports

AsHubCache = Callable[[Path, Path], Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("GPT2XL_CACHE", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the hub's cache, in place of the user's."""
    folder = tmp_path / "hub"
    if hub_cache.is_readable():
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
        monkeypatch.setattr("huggingface_hub.utils._cache_manager.HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def export(bundle: Path, tmp_path: Path) -> Path:
    """A bundle outside the cache that is remembered."""
    folder = Path(shutil.copytree(bundle, tmp_path / "my-bundle"))
    remember_export(folder)
    return folder


def named_bundle(bundle: Path, cache: Path, name: str, version: str = gpt2xl.__version__) -> Path:
    return Path(shutil.copytree(bundle, cache / f"{name}-int8-{version}"))


def models() -> dict[str, StoredModel]:
    return {model.name: model for model in stored_models()}


def test_an_empty_machine_has_no_models() -> None:
    assert stored_models() == []


def test_bundles_of_the_cache_have_the_names_that_made_them(bundle: Path, cache: Path) -> None:
    made = [named_bundle(bundle, cache, name) for name in ("gpt2-xl", "owner--tale")]
    found = models()
    assert [found[name].folder for name in ("gpt2-xl", "owner/tale")] == made
    one = found["gpt2-xl"]
    files = [path for path in bundle.rglob("*") if path.is_file()]
    assert (one.kind, one.precision) == ("bundle", "fp32")
    assert one.size == sum(path.stat().st_size for path in files)


def test_the_demo_is_listed_once_it_is_there(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2xl_export.named_models.demo_checkpoint", lambda: checkpoint)
    folder = bundle_of("demo")
    assert [(model.name, model.folder) for model in stored_models()] == [("demo", folder)]
    remove(find_models("demo")[0])
    assert stored_models() == []


def test_a_bundle_of_another_version_is_named_by_its_folder(bundle: Path, cache: Path) -> None:
    old = named_bundle(bundle, cache, "gpt2-xl", "0.0.1")
    assert [*models()] == [str(old)]


def test_a_folder_in_the_cache_without_a_manifest_is_no_model(cache: Path) -> None:
    (cache / "sessions").mkdir(parents=True)
    assert stored_models() == []


def test_an_export_elsewhere_is_remembered_until_its_folder_is_gone(export: Path) -> None:
    assert models()[str(export)].kind == "bundle"
    shutil.rmtree(export)
    assert stored_models() == []
    assert read_registry() == [export]
    forget_missing_exports()
    assert read_registry() == []


@pytest.mark.parametrize("content", ["", "{}", "[1, null]", "\0", "[" * 100_000])
def test_a_damaged_registry_is_written_anew(content: str, cache: Path, export: Path) -> None:
    (cache / "exports.json").write_text(content)
    assert remembered_exports() == []
    remember_export(export)
    assert remembered_exports() == [export]


def test_a_cache_that_cannot_be_written_is_no_error(cache: Path, bundle: Path) -> None:
    cache.write_text("a file")
    remember_export(bundle)
    assert stored_models() == []


def test_exports_that_end_at_the_same_time_are_all_remembered(bundle: Path, tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(8)]
    for folder in folders:
        folder.mkdir()
        (folder / "gpt2xl.json").write_text("{}")
    threads = [threading.Thread(target=remember_export, args=[folder]) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {*read_registry()} == {*folders}


def test_the_time_of_a_use_is_that_of_the_last_read(export: Path) -> None:
    os.utime(export / "tokenizer.json", (2e9, 1e9))
    assert models()[str(export)].last_read == 2e9


def test_a_bundle_of_the_cache_is_removed(bundle: Path, cache: Path) -> None:
    folder = named_bundle(bundle, cache, "gpt2-xl")
    (folder / "notes").write_text("the cache is ours")
    size = folder_size(folder)
    assert remove(models()["gpt2-xl"]) == size
    assert os.listdir(cache) == []


def test_an_export_is_removed_and_forgotten(export: Path, tmp_path: Path) -> None:
    (found,) = find_models("my-bundle")
    assert remove(found) == found.size
    assert not export.exists()
    assert read_registry() == []
    assert [name for name in os.listdir(tmp_path) if "my-bundle" in name] == []


def test_a_folder_with_other_files_is_not_removed(export: Path) -> None:
    (export / "onnx" / "notes").write_text("precious")
    with pytest.raises(
        BundleError, match="holds other files than the bundle's, such as 'onnx/notes"
    ):
        remove(find_models(str(export))[0])
    assert (export / "config.json").is_file()


def test_an_incomplete_export_is_not_removed(export: Path) -> None:
    (export / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"not a complete bundle \(tokenizer.json is missing\)"):
        remove(find_models(str(export))[0])
    assert (export / "config.json").is_file()


def test_a_checkpoint_folder_is_not_removed(checkpoint: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle that gpt2xl has exported"):
        find_models(str(checkpoint))


def test_a_bundle_that_is_being_replaced_is_not_removed(export: Path) -> None:
    (found,) = find_models(str(export))
    with locked(export), pytest.raises(BusyError):
        remove(found)
    assert (export / "config.json").is_file()


def test_leftovers_are_listed_and_removed(cache: Path) -> None:
    leftover = cache / ".gpt2-xl-int8-9.partial-0123abcd"
    leftover.mkdir(parents=True)
    (leftover / "half").write_bytes(b"x" * 1000)
    (found,) = stored_models()
    assert (found.kind, found.name, found.size) == ("unfinished", f"{cache}/gpt2-xl-int8-9", 1000)
    assert remove(found) == 1000
    assert os.listdir(cache) == []


def test_what_another_process_is_making_is_not_removed(cache: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gpt2xl_export.output.staging import *\n"
        "out = Path(sys.argv[1])\n"
        "with claimed(out, force=False), staged_folder(out, force=False) as folder:\n"
        "    (folder / 'half').touch()\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(cache / "gpt2-int8-9")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as maker:
        assert maker.stdout is not None
        maker.stdout.readline()
        (found,) = stored_models()
        with pytest.raises(BusyError):
            remove(found)
        assert (found.folder / "half").exists()
        maker.kill()
    assert remove(found) == 0
    assert os.listdir(cache) == []


def test_a_bundle_whose_replacement_was_interrupted_gets_its_name_back(export: Path) -> None:
    old = export.rename(export.with_name(".my-bundle.old-0123abcd"))
    export.mkdir()
    (export / "gpt2xl.json").write_text("{}")
    (unfinished,) = [model for model in stored_models() if model.kind == "unfinished"]
    shutil.rmtree(export)
    assert remove(unfinished) == 0
    assert not old.exists()
    assert (export / "config.json").is_file()


def test_an_unknown_name_is_answered_with_the_one_that_is_meant(bundle: Path, cache: Path) -> None:
    named_bundle(bundle, cache, "owner--tale")
    with pytest.raises(BundleError, match="did you mean 'owner/tale'"):
        find_models("owner/tail")
    with pytest.raises(BundleError, match="`gpt2xl generate -m gpt2-xl` makes it"):
        find_models("gpt2-xl")
    with pytest.raises(BundleError, match="`gpt2xl models` lists what is"):
        find_models("zebra")


class TestHubCache:
    @pytest.fixture(autouse=True)
    def needs_the_extra(self) -> None:
        pytest.importorskip("huggingface_hub", reason="the extra 'hub' is not installed")

    def test_gpt2_checkpoints_are_listed(
        self, checkpoint: Path, as_hub_cache: AsHubCache, hub: Path, tmp_path: Path
    ) -> None:
        as_hub_cache(checkpoint, hub / "models--openai-community--gpt2-xl")
        other = Path(shutil.copytree(checkpoint, tmp_path / "other"))
        (other / "config.json").write_text('{"model_type": "bert"}')
        as_hub_cache(other, hub / "models--owner--bert")
        as_hub_cache(checkpoint, hub / "datasets--owner--texts")
        (found,) = stored_models()
        sizes = sum(path.stat().st_size for path in checkpoint.iterdir())
        assert (found.name, found.kind, found.size) == ("gpt2-xl", "checkpoint", sizes)

    def test_an_interrupted_download_counts_with_its_size(
        self, checkpoint: Path, as_hub_cache: AsHubCache, hub: Path
    ) -> None:
        repo = hub / "models--owner--tale"
        as_hub_cache(checkpoint, repo)
        before = stored_models()[0].size
        (repo / "blobs" / "abc.incomplete").write_bytes(b"x" * 5000)
        assert stored_models()[0].size == before + 5000

    def test_bundle_and_checkpoint_of_a_name_are_removed_together_or_alone(
        self, checkpoint: Path, bundle: Path, as_hub_cache: AsHubCache, hub: Path, cache: Path
    ) -> None:
        as_hub_cache(checkpoint, hub / "models--openai-community--gpt2-xl")
        named_bundle(bundle, cache, "gpt2-xl")
        for name in ("gpt2-xl", "openai-community/gpt2-xl"):
            assert [model.kind for model in find_models(name)] == ["bundle", "checkpoint"]
        (found,) = find_models("gpt2-xl", "checkpoint")
        assert remove(found) == found.size
        assert os.listdir(hub) == []
        with pytest.raises(BundleError, match="is not on this machine as a checkpoint, only as a"):
            find_models("gpt2-xl", "checkpoint")

    def test_a_checkpoint_that_is_being_downloaded_is_not_removed(
        self, checkpoint: Path, as_hub_cache: AsHubCache, hub: Path
    ) -> None:
        from filelock import FileLock

        as_hub_cache(checkpoint, hub / "models--owner--tale")
        lock = hub / ".locks" / "models--owner--tale" / "abc.lock"
        lock.parent.mkdir(parents=True)
        with FileLock(lock), pytest.raises(BusyError, match="'owner/tale' is being downloaded"):
            remove(stored_models()[0])
        assert len(stored_models()) == 1
        remove(stored_models()[0])
        assert stored_models() == []

    def test_a_checkpoint_that_is_gone_is_an_error(
        self, checkpoint: Path, as_hub_cache: AsHubCache, hub: Path
    ) -> None:
        as_hub_cache(checkpoint, hub / "models--owner--tale")
        (found,) = stored_models()
        remove(found)
        with pytest.raises(CheckpointError, match="is not in the hub's cache"):
            remove(found)


def test_without_huggingface_hub_its_cache_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_cache, "find_spec", lambda name: None)
    assert not hub_cache.is_readable()
    assert stored_models() == []


def test_the_names_for_a_shell_are_found_without_the_library(
    bundle: Path, cache: Path, export: Path
) -> None:
    named_bundle(bundle, cache, "owner--tale")
    code = (
        "import json, sys; sys.modules.update(dict.fromkeys(['numpy', 'gpt2xl', 'onnxruntime']));"
        "from gpt2xl_export.places import *;"
        "print(json.dumps([bundle_names(), [str(p) for p in remembered_exports()]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [["owner/tale"], [str(export)]]
