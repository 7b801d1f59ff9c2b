"""Small files are read whole; pipes, devices and large files are refused."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpt2xl import BundleError, load
from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.files.reading import belongs_to, folder_size, is_inside, read_bytes, read_text


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Call it to put a socket in place of a file."""
    sockets = []

    def bind(path: Path) -> None:
        sockets.append(socket.socket(socket.AF_UNIX))
        sockets[-1].bind(os.path.relpath(path))

    yield bind
    for one in sockets:
        one.close()


def test_the_size_of_a_folder_counts_each_file_once_wherever_it_is(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot" / "onnx").mkdir(parents=True)
    for name, size in (("a", 5), ("b", 30)):
        (tmp_path / "blobs" / name).write_bytes(b"x" * size)
    (tmp_path / "snapshot" / "onnx" / "a").symlink_to(tmp_path / "blobs" / "a")
    (tmp_path / "snapshot" / "b").symlink_to(tmp_path / "blobs" / "b")
    (tmp_path / "snapshot" / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "snapshot" / "again").hardlink_to(tmp_path / "blobs" / "a")
    assert folder_size(tmp_path / "snapshot") == folder_size(tmp_path) == 35
    assert folder_size(tmp_path / "nowhere") == 0


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xc3\xa9")
    (tmp_path / "link").symlink_to("a")
    assert read_bytes(tmp_path / "a", BundleError) == b"\xc3\xa9"
    assert read_text(tmp_path / "link", BundleError, 2) == "é"


def test_large_files_and_invalid_utf_8_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(1 << 20) + b"\xff")
    with pytest.raises(BundleError, match="a' is larger than the 1 MB that are read of it"):
        read_bytes(tmp_path / "a", BundleError, 1 << 20)
    with pytest.raises(BundleError, match="a' is not UTF-8: byte 0xff at offset 1048576"):
        read_text(tmp_path / "a", BundleError)


@pytest.mark.parametrize("name", ["nothing", "dangling", "a" * 300, "a/" * 3000 + "b", "a\0b"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "dangling").symlink_to("nothing")
    with pytest.raises(BundleError, match="does not exist"):
        read_bytes(tmp_path / name, BundleError)


@pytest.mark.parametrize(
    "name",
    ["config.json", "generation_config.json", "gpt2xl.json", "tokenizer.json", "onnx/engine.onnx"],
)
@pytest.mark.parametrize("kind", ["pipe", "folder", "socket", "device"])
def test_pipes_and_sockets_in_place_of_a_bundles_files_do_not_block(
    make_foreign: Callable[[], Path],
    bound: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
) -> None:
    folder = make_foreign()
    monkeypatch.chdir(folder)  # names of sockets are short
    path = folder / name
    path.unlink(missing_ok=True)
    if kind == "device":
        path.symlink_to("/dev/zero")
    else:
        {"pipe": os.mkfifo, "folder": os.mkdir, "socket": bound}[kind](path)
    with pytest.raises(BundleError, match=f"{name}' is not a regular file"):
        load(folder)


@pytest.mark.parametrize("name", ["a" * 300, "a/" * 3000, "a\0b", "a\nb"])
def test_an_impossible_folder_name_is_not_a_folder(name: str) -> None:
    with pytest.raises(BundleError, match="is not a folder") as caught:
        open_bundle(Path(name))
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["model.onnx_data", "below/weights", "..a", "a..b/c"])
def test_a_name_inside_the_folder_is_accepted(name: str) -> None:
    assert is_inside(name)


@pytest.mark.parametrize(
    "name", ["", "..", "../a", "a/../b", "/a", "\\a", "..\\a", "a\\..\\b", "C:a", "C:\\a", "a\0b"]
)
def test_a_name_outside_the_folder_is_refused(name: str) -> None:
    assert not is_inside(name)


def test_links_may_lead_inside_the_folder_and_into_the_hubs_cache(
    bundle: Path, as_hub_cache: Callable[[Path, Path], Path], tmp_path: Path
) -> None:
    snapshot = as_hub_cache(bundle, tmp_path / "repo")
    (tmp_path / "here").symlink_to(snapshot)
    for folder in (snapshot, tmp_path / "here", snapshot / "onnx"):
        assert all(belongs_to(path, folder) for path in folder.iterdir())
    (snapshot / "out").symlink_to(tmp_path)
    (snapshot / "stranger").symlink_to("/etc/passwd")
    (snapshot / "refs").symlink_to(tmp_path / "repo" / "refs")
    assert not any(belongs_to(snapshot / name, snapshot) for name in ("out", "stranger", "refs"))


def test_blobs_outside_a_hub_cache_are_refused(tmp_path: Path) -> None:
    for name in ("model", "blobs"):
        (tmp_path / name).mkdir()
    assert not belongs_to(tmp_path / "blobs" / "a", tmp_path / "model")


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    assert not belongs_to(tmp_path / "loop", tmp_path / "folder")
