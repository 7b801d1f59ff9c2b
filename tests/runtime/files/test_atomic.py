"""One writer at a time; files of a killed writer are removed."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest

from gpt2xl import BusyError
from gpt2xl.files.atomic import locked, written_atomically

Holder = Callable[..., Popen[bytes]]
HOLDER = """
import sys, time
from pathlib import Path
from gpt2xl.files.atomic import locked, written_atomically
target, folder = Path(sys.argv[1]), sys.argv[2] == "folder"
with locked(target), written_atomically(target) as temporary:
    if folder:
        temporary.mkdir()
        (temporary / "half").touch()
    else:
        temporary.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""
BETWEEN = """
import os, signal, sys
from pathlib import Path
from gpt2xl.files.atomic import locked, written_atomically
target, real, kill_at = Path(sys.argv[1]), Path.rename, int(sys.argv[2])
def rename(self, to):
    done.append(to)
    if len(done) == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, to)
done, Path.rename = [], rename
with locked(target), written_atomically(target) as temporary:
    temporary.mkdir()
    (temporary / "content").write_text("new")
"""


@pytest.fixture
def holder() -> Iterator[Holder]:
    """Start a process that is writing a target."""
    started = []

    def holder(target: Path, kind: str = "file") -> Popen[bytes]:
        command = [sys.executable, "-c", HOLDER, str(target), kind]
        process = Popen(command, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process

    yield holder
    for process in started:
        process.kill()
        process.communicate()


def write(target: Path, content: str = "new", *, wait: bool = False) -> None:
    with locked(target, wait=wait), written_atomically(target) as temporary:
        temporary.write_text(content)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_a_file_gets_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    with locked(target), written_atomically(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
        assert names(tmp_path) == [".out.lock", temporary.name]
    assert target.read_text() == "new"
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_files_of_a_killed_process_are_removed_by_the_next(
    kind: str, holder: Holder, tmp_path: Path
) -> None:
    target = tmp_path / "out [1]*"
    process = holder(target, kind)
    process.kill()
    process.wait()
    left = names(tmp_path)
    assert [name[:11] for name in left] == [".out [1]*.l", ".out [1]*.p"]
    write(target)
    assert names(tmp_path) == [target.name]


def test_files_of_a_live_process_are_not_touched(holder: Holder, tmp_path: Path) -> None:
    holder(tmp_path / "out")
    before = names(tmp_path)
    with pytest.raises(
        BusyError, match=r"another gpt2xl is writing '.*out': wait until it has finished"
    ):
        write(tmp_path / "out")
    write(tmp_path / "ou")
    write(tmp_path / "out.partial-00000000")
    assert {*before} < {*names(tmp_path)}


def test_files_of_similar_names_are_not_removed(tmp_path: Path) -> None:
    alike = [".out.partial-1234567", ".out.partial-xxxxxxxx", "out.partial-12345678", ".out.lock2"]
    for name in [*alike, ".other.partial-12345678", ".out2.old-12345678"]:
        (tmp_path / name).touch()
    before = names(tmp_path)
    write(tmp_path / "out")
    assert names(tmp_path) == sorted([*before, "out"])


def test_waiting_ends_with_the_other_writer(holder: Holder, tmp_path: Path) -> None:
    process = holder(tmp_path / "out")
    waiting = threading.Thread(target=write, args=(tmp_path / "out",), kwargs={"wait": True})
    waiting.start()
    time.sleep(0.2)
    assert waiting.is_alive()
    process.kill()
    process.wait()
    waiting.join(timeout=30)
    assert names(tmp_path) == ["out"]


def test_many_writers_take_turns(tmp_path: Path) -> None:
    def work() -> None:
        for _ in range(20):
            with locked(tmp_path / "out", wait=True):
                value = int(count.read_text())
                inside.append(1)
                assert len(inside) == 1
                count.write_text(str(value + 1))
                inside.pop()

    count, inside = tmp_path / "count", list[int]()
    count.write_text("0")
    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["count"]
    assert count.read_text() == "100"


@pytest.mark.parametrize(("kill_at", "content"), [(1, "old"), (2, "old"), (3, "new")])
def test_a_folder_is_the_old_or_the_new_one_whenever_the_process_is_killed(
    kill_at: int, content: str, tmp_path: Path
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "content").write_text("old")
    command = [sys.executable, "-c", BETWEEN, str(target), str(kill_at)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert target.exists() is (kill_at != 2)
    with locked(target):
        assert names(tmp_path) == [".out.lock", "out"]
        assert (target / "content").read_text() == content


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real" / "file")
    with locked(tmp_path / "link"), pytest.raises(BusyError):
        write(tmp_path / "real" / "file")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["file"]


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(IsADirectoryError):
        write(tmp_path / "out")
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("length", [238, 250, 255])
def test_a_name_that_is_too_long_is_refused_before_writing(length: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"), locked(tmp_path / ("o" * length)):
        raise AssertionError("this is too late")
    assert names(tmp_path) == []


def test_without_locks_the_block_runs_and_nothing_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / ".out.partial-12345678").touch()
    monkeypatch.setattr(fcntl, "flock", unsupported)
    write(tmp_path / "out")
    assert names(tmp_path) == [".out.partial-12345678", "out"]
