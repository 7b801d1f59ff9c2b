"""Memory limits: one below the size of the weights is refused in one line."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2xl import BundleError
from gpt2xl.bundle.bundle import Bundle, open_bundle
from gpt2xl.startup.memory import check_memory, memory_left

MB = 1 << 20


@pytest.fixture(scope="session")
def large(make_bundle: Callable[..., Path]) -> Path:
    """A bundle of 40 MB, that tests only read."""
    return make_bundle({"n_embd": 640})


@pytest.fixture
def machine(tmp_path: Path) -> tuple[Path, Path]:
    """/proc and /sys/fs/cgroup of a machine with 64 MB free, in a group without limits."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemAvailable: 65536 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n")
    (proc / "self" / "cgroup").write_text("0::/user/job\n")
    (cgroups / "user" / "job").mkdir(parents=True)
    (cgroups / "user" / "job" / "memory.max").write_text("max\n")
    return proc, cgroups


def refused(bundle: Bundle, machine: tuple[Path, Path]) -> str:
    """The error message; empty where the bundle may load."""
    try:
        check_memory(bundle, proc=machine[0], cgroups=machine[1])
    except BundleError as error:
        return str(error)
    return ""


def test_enough_memory_is_accepted(large: Path, machine: tuple[Path, Path]) -> None:
    assert refused(open_bundle(large), machine) == ""
    check_memory(open_bundle(large))


def test_too_little_memory_of_the_machine_is_refused(
    large: Path, machine: tuple[Path, Path]
) -> None:
    bundle = open_bundle(large)
    small = "MemAvailable: 20480 kB\nSwapTotal: 0 kB\nSwapFree: {} kB\n"
    (machine[0] / "meminfo").write_text(small.format(0))
    said = refused(bundle, machine)
    assert "\n" not in said
    assert f"'{large}' needs " in said
    assert "this machine's memory leaves 21 MB" in said
    assert "int4" in said
    (machine[0] / "meminfo").write_text(small.format(40960))
    assert refused(bundle, machine) == ""


@pytest.mark.parametrize("where", ["user/job", "user", "."])
def test_limits_of_a_control_group_and_its_parents_count(
    where: str, large: Path, machine: tuple[Path, Path]
) -> None:
    folder = machine[1] / where
    (folder / "memory.max").write_text(f"{60 * MB}\n")
    assert refused(open_bundle(large), machine) == ""
    (folder / "memory.stat").write_text(f"anon {50 * MB}\nfile {900 * MB}\n")
    said = refused(open_bundle(large), machine)
    assert f"control group ({folder}) leaves 10 MB" in said
    assert memory_left(*machine) == 10 * MB


def test_limits_of_control_groups_of_version_1_count(
    large: Path, machine: tuple[Path, Path]
) -> None:
    (machine[0] / "self" / "cgroup").write_text("4:memory:/job\n1:cpu:/job\n")
    folder = machine[1] / "memory" / "job"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert refused(open_bundle(large), machine) == ""
    (folder / "memory.limit_in_bytes").write_text(f"{20 * MB}\n")
    assert "leaves 21 MB" in refused(open_bundle(large), machine)


def test_unknown_limits_are_ignored(large: Path, tmp_path: Path) -> None:
    check_memory(open_bundle(large), proc=tmp_path, cgroups=tmp_path)
    assert memory_left(tmp_path, tmp_path) is None


@pytest.mark.skipif(sys.platform != "linux", reason="limits that Linux keeps")
@pytest.mark.parametrize(
    ("limit", "used", "room", "words"),
    [
        ("AS", "VmSize", 30, "ulimit -v"),
        ("DATA", "VmData", 30, "ulimit -d"),
        ("AS", "VmSize", 52, "not enough memory to load"),  # for the weights, not for all else
    ],
)
def test_a_real_limit_is_reported_in_one_line(
    limit: str, used: str, room: int, words: str, large: Path
) -> None:
    code = f"""
import resource, sys
import gpt2xl
status = dict(line.split(":") for line in open("/proc/self/status"))
size = int(status["{used}"].split()[0]) * 1024 + {room}_000_000
resource.setrlimit(resource.RLIMIT_{limit}, (size, size))
try:
    gpt2xl.load(sys.argv[1])
except gpt2xl.BundleError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, str(large)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (said,) = done.stdout.splitlines()
    assert words in said
