"""Run every command on damaged files for half a minute; fuzz.py runs more."""

import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")
FILES = 500  # a quarter of a minute on two cores
ENOUGH = 150  # seconds, on a machine that has other work
FEWEST = 200  # files even there

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="memory is watched through Linux's /proc"
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(1, id="fixed seed"),
        pytest.param(secrets.randbits(32), id="fresh seed", marks=pytest.mark.slow),
    ],
)
def test_damaged_files_give_the_right_result_or_one_line(seed: int, tmp_path: Path) -> None:
    options = [("--files", FILES), ("--seconds", ENOUGH), ("--seed", seed), ("--processes", 2)]
    words = [str(word) for option in (*options, ("--out", tmp_path / "out")) for word in option]
    done = subprocess.run([sys.executable, str(FUZZ), *words], capture_output=True, text=True)
    assert done.returncode == 0, f"seed {seed}\n{done.stdout}{done.stderr}"
    counted = re.search(r"^(\d+) damaged files", done.stdout, re.MULTILINE)
    assert counted and int(counted[1]) >= FEWEST
