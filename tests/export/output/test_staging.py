"""A folder appears whole or not at all."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gpt2xl import BusyError, ExportError
from gpt2xl_export.output.staging import claimed, staged_folder


def make(out: Path, content: str = "new", *, force: bool = False) -> None:
    """Write a folder that looks like a bundle."""
    with claimed(out, force=force), staged_folder(out, force=force) as staging:
        (staging / "gpt2xl.json").write_text("{}")
        (staging / "onnx").mkdir()
        (staging / "onnx" / "file").write_text(content)


def content(out: Path) -> str:
    return (out / "onnx" / "file").read_text()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_has_its_name_only_when_all_is_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with claimed(out, force=False), staged_folder(out, force=False) as staging:
        (staging / "file").touch()
        assert staging.parent == tmp_path
        assert staging.name.startswith(".out.partial-")
        assert not out.exists()
    assert names(tmp_path) == ["out"]
    assert names(out) == ["file"]


def test_parents_are_made(tmp_path: Path) -> None:
    make(tmp_path / "a" / "b" / "out")
    assert content(tmp_path / "a" / "b" / "out") == "new"


def test_the_folder_is_as_readable_as_any_other(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        make(tmp_path / "out")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, SystemExit])
@pytest.mark.parametrize("force", [True, False])
def test_an_interruption_leaves_nothing_behind(
    tmp_path: Path, error: type[BaseException], force: bool
) -> None:
    if force:
        make(tmp_path / "out", "old")
    with (
        pytest.raises(error),
        claimed(tmp_path / "out", force=force),
        staged_folder(tmp_path / "out", force=force) as staging,
    ):
        (staging / "half").touch()
        raise error
    assert names(tmp_path) == ["out"] * force
    assert not force or content(tmp_path / "out") == "old"


def test_what_is_there_is_refused_without_force(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    with pytest.raises(ExportError, match=r"out' exists already: .* --force"):
        make(tmp_path / "out")
    assert content(tmp_path / "out") == "old"


def test_force_replaces_a_bundle(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    (tmp_path / "out" / "left_over").touch()
    make(tmp_path / "out", force=True)
    assert content(tmp_path / "out") == "new"
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["gpt2xl.json", "onnx"]


def test_force_makes_what_is_not_there(tmp_path: Path) -> None:
    make(tmp_path / "out", force=True)
    assert content(tmp_path / "out") == "new"


@pytest.mark.parametrize("kind", ["file", "folder", "empty", "dangling"])
def test_force_replaces_nothing_but_bundles(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("precious")
    elif kind == "dangling":
        out.symlink_to(tmp_path / "nowhere")
    else:
        out.mkdir()
        (out / "precious").touch() if kind == "folder" else None
    with pytest.raises(ExportError, match="is not a gpt2xl bundle: --force does not replace it"):
        make(out, force=True)
    assert names(tmp_path) == ["out"]


def test_force_replaces_no_checkpoint_even_beside_a_manifest(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    (tmp_path / "out" / "model.safetensors").touch()
    with pytest.raises(ExportError, match="also holds safetensors"):
        make(tmp_path / "out", force=True)


def test_a_link_to_a_bundle_stays_one(tmp_path: Path) -> None:
    make(tmp_path / "real" / "bundle", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "bundle")
    make(tmp_path / "link", force=True)
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "real" / "bundle") == "new"
    assert names(tmp_path / "real") == ["bundle"]


def test_a_folder_that_comes_to_exist_meanwhile_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        pytest.raises(ExportError, match="out' exists already"),
        staged_folder(out, force=False),
    ):
        out.mkdir()
    assert names(tmp_path) == ["out"]
    assert names(out) == []


def test_a_rename_that_fails_brings_the_old_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "out", "old")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if ".partial-" in self.name:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(ExportError, match="cannot be written: Input/output error"):
        make(tmp_path / "out", force=True)
    assert names(tmp_path) == ["out"]
    assert content(tmp_path / "out") == "old"


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ExportError, match=r"the disk is full: '.*out' was not written"),
        staged_folder(tmp_path / "out", force=False),
        open("/dev/full", "w") as full,
    ):
        full.write("x")
        full.flush()
    assert names(tmp_path) == []


def test_a_parent_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="out' cannot be written"):
        make(tmp_path / "file" / "out")


KILLED = """
import os, signal, sys
from pathlib import Path
from gpt2xl_export.output.staging import claimed, staged_folder
with staged_folder(Path(sys.argv[1]), force=True) as staging:
    (staging / "half").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_the_old_bundle_and_nothing_for_good(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out")], check=False)
    assert killed.returncode == -9
    assert content(tmp_path / "out") == "old"
    make(tmp_path / "out", force=True)
    assert content(tmp_path / "out") == "new"
    assert names(tmp_path) == ["out"]


def test_a_bundle_put_aside_by_a_killed_process_is_back_and_not_replaced(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    (tmp_path / "out").rename(tmp_path / ".out.old-0123abcd")
    (tmp_path / ".out.partial-0123abcd").mkdir()
    with pytest.raises(ExportError, match="out' exists already"):
        make(tmp_path / "out")
    assert names(tmp_path) == ["out"]
    assert content(tmp_path / "out") == "old"


def test_two_processes_do_not_make_one_folder(tmp_path: Path) -> None:
    with claimed(tmp_path / "out", force=False):
        with pytest.raises(BusyError, match=r"another gpt2xl is writing '.*out'"):
            make(tmp_path / "out")
        make(tmp_path / "other")
    make(tmp_path / "out")
    assert names(tmp_path) == ["other", "out"]


def test_parents_made_in_vain_are_removed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), claimed(tmp_path / "a" / "b" / "out", force=False):
        (tmp_path / "a" / "mine").touch()
        raise RuntimeError
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["mine"]


def test_a_run_that_is_refused_cleans_up_as_well(tmp_path: Path) -> None:
    make(tmp_path / "out", "old")
    (tmp_path / ".out.lock").touch()
    (tmp_path / ".out.partial-0123abcd").mkdir()
    with pytest.raises(ExportError, match="out' exists already"):
        make(tmp_path / "out")
    assert names(tmp_path) == ["out"]
