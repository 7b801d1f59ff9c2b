"""Watching a worker finds hangs, deaths and too much memory; the workers here are small scripts."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fuzz.watch import Watched

WORKER = """
import faulthandler, json, os, signal, sys, time
home = sys.argv[1]
stacks = open(os.path.join(home, "stacks.txt"), "wb", 0)
faulthandler.enable(stacks)
faulthandler.register(signal.SIGUSR1, stacks)
def hang(): time.sleep(100)
def die(): os.kill(os.getpid(), signal.SIGSEGV)
def leave(): sys.exit(3)
def grow():
    held = []
    while True: held.append(b"x" * (16 << 20))
def grew(): answer(3 << 30)
def answer(peak=0):
    print(json.dumps({"number": 0, "kind": "k", "what": "", "commands": 1, "refused": 0, "fault": None, "peak": peak}), flush=True)
for line in sys.stdin:
    [answer, hang, die, leave, grow, grew][int(line)]()
"""
ANSWER, HANG, DIE, LEAVE, GROW, GREW = range(6)

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="memory is watched through Linux's /proc"
)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    script = tmp_path / "worker.py"
    script.write_text(WORKER)
    command = [sys.executable, str(script), str(tmp_path / "home")]
    watched = Watched(command, tmp_path / "home", seconds=3, memory=1 << 28)
    yield watched
    watched.close()


def test_an_answer_is_not_a_fault(watched: Watched) -> None:
    assert watched.case(ANSWER)["fault"] is None


@pytest.mark.parametrize(
    ("case", "kind", "told"),
    [
        (HANG, "hang", "no end after 3 s"),
        (DIE, "crash", "SIGSEGV"),
        (LEAVE, "harness", "exit status 3"),
        (GROW, "memory", "MB"),
        (GREW, "memory", "3072 MB"),
    ],
)
def test_faults_are_reported_and_the_next_case_runs(
    watched: Watched, case: int, kind: str, told: str
) -> None:
    fault = watched.case(case)["fault"]
    assert fault.kind == kind
    assert told in fault.where + fault.detail
    assert watched.case(ANSWER)["fault"] is None
