"""Outputs that cannot be written: one line that names the path, and no partial output."""

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Refused = Callable[..., str]
Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mount a small file system; skip the test where that is not allowed."""
    places = []

    def mount(options: str) -> Path:
        place = tmp_path / "mounted"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.parametrize("below", ["file/out", "file/new/out"])
def test_a_path_below_a_file_cannot_be_written(
    below: str, checkpoint: Path, refused: Refused
) -> None:
    Path("file").write_text("precious")
    assert f"'{below}' cannot be written" in refused("export", checkpoint, below)


def test_a_file_name_that_is_too_long_is_refused(checkpoint: Path, refused: Refused) -> None:
    assert "cannot be written: File name too long" in refused("export", checkpoint, "o" * 250)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_proc_cannot_be_written(checkpoint: Path, refused: Refused) -> None:
    assert "'/proc/out' cannot be written" in refused("export", checkpoint, "/proc/out")


def test_a_read_only_file_system_is_named(checkpoint: Path, mount: Mount, refused: Refused) -> None:
    out = mount("ro,size=64k") / "out"
    message = refused("export", checkpoint, out)
    assert f"'{out}' cannot be written: Read-only file system" in message


def pages(folder: Path) -> int:
    """Pages of 4 KiB that a tmpfs needs for ``folder``."""
    return sum(-(-path.stat().st_size // 4096) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7, 1.0])
def test_a_full_disk_is_named(
    share: float, checkpoint: Path, bundle: Path, mount: Mount, refused: Refused
) -> None:
    room = int(share * pages(bundle)) - 1  # one page too few for all of it
    out = mount(f"size={4 * room}k") / "out"
    assert f"the disk is full: '{out}' was not written" in refused("export", checkpoint, out)


def test_a_file_size_limit_is_one_error_line(checkpoint: Path, refused: Refused) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        message = refused("export", checkpoint, "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "'out' cannot be written: File too large" in message


def test_a_name_that_is_not_utf_8_is_refused(checkpoint: Path, refused: Refused) -> None:
    assert "asks for a path in UTF-8" in refused("export", checkpoint, "out\udcff")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("command", [["generate", "Once"], ["tokenize", "Once"], ["-h"]])
def test_a_full_disk_on_stdout_is_one_error_line(
    command: list[str], bundle: Path, error_line: Callable[[CompletedProcess[str]], str]
) -> None:
    model = [] if command == ["-h"] else ["-m", str(bundle)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gpt2xl_cli", *command, *model],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    done.stdout = ""
    assert "No space left on device" in error_line(done)
