"""Damage files and run the commands on them: allowed are the right result or one line of error.

    python tests/fuzz/fuzz.py --files 100000 --processes 2 --seed 1

Findings go to --out, grouped by exception and place; --replay NUMBER runs one case of a seed again.
"""

import argparse
import itertools
import os
import resource
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path[0] = str(ROOT)  # in place of this file's folder

from tests.fuzz.bases import build  # noqa: E402
from tests.fuzz.cases import kind_of  # noqa: E402
from tests.fuzz.findings import Findings  # noqa: E402
from tests.fuzz.kinds import kinds  # noqa: E402
from tests.fuzz.watch import Watched  # noqa: E402


def main() -> int:
    """Run the cases that the arguments ask for; returns 1 if there are findings."""
    asked = _arguments()
    _say(f"seed {asked.seed}")
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # files in memory
    with tempfile.TemporaryDirectory(prefix="gpt2xl-fuzz-", dir=fast) as place:
        root = Path(place)
        _set_environment(root)
        subprocess.run([sys.executable, __file__, "--build", str(root / "bases")], check=True)
        findings = Findings(asked.out)
        start = time.monotonic()
        first = range(-len(kinds()), 0) if asked.replay is None else range(0)  # the undamaged ones
        numbers = itertools.count() if asked.replay is None else asked.replay
        wanted = (n for n in numbers if fnmatch(kind_of(asked.seed, n).name, asked.kinds))
        count = asked.files if asked.replay is None else len(asked.replay)
        todo = itertools.chain(first, itertools.islice(wanted, count))
        lock = threading.Lock()

        def next_number() -> Iterator[int]:
            while not asked.seconds or time.monotonic() - start < asked.seconds:
                with lock:
                    number = next(todo, None)
                if number is None:
                    return
                yield number

        def work(name: str) -> None:
            home = root / name
            worker = [sys.executable, "-m", "tests.fuzz.worker", str(home), str(root / "bases"), str(asked.seed)]  # fmt: skip
            watched = Watched(worker, home, asked.timeout)
            for number in next_number():
                findings.add(watched.case(number), home / "work")
                _tell(findings, start)
            watched.close()

        names = [f"worker-{number}" for number in range(asked.processes)]
        threads = [threading.Thread(target=work, args=[name], daemon=True) for name in names]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:  # after Ctrl-C, too
            _report(findings, asked.out, time.monotonic() - start)
    return 1 if findings.count else 0


def _tell(findings: Findings, start: float) -> None:
    if findings.files and findings.files % 1000 == 0:
        rate = findings.files / (time.monotonic() - start)
        _say(f"{findings.files} files, {findings.count} findings, {rate:.1f} a second")


def _report(findings: Findings, out: Path, seconds: float) -> None:
    text = f"{findings.table()}\n\n{findings.groups()}"
    (out / "report.txt").write_text(text + "\n", "utf-8", "backslashreplace")
    rate = findings.files / seconds
    _say(text)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = (used.ru_utime + used.ru_stime) / max(1, findings.files)
    _say(f"{findings.files} damaged files in {seconds:.0f} s: {rate:.1f} a second, {busy * 1000:.0f} ms of a processor each")  # fmt: skip
    _say(f"{findings.count} findings, in {out}")


def _say(text: str) -> None:
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def _set_environment(root: Path) -> None:
    """The environment of workers: their own cache, no hub, our sources first."""
    paths = [str(ROOT), *(str(ROOT / name) for name in ("runtime", "export", "evaluate", "cli"))]
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    os.environ |= {"XDG_CACHE_HOME": str(root / "cache"), "HF_HOME": str(root / "hub"), "HF_HUB_OFFLINE": "1"}  # fmt: skip
    os.environ |= {"COLUMNS": "200", "OMP_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
    for name in ("GPT2XL_DEBUG", "GPT2XL_CACHE"):
        os.environ.pop(name, None)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--files", type=int, default=1000, help="damaged files")
    parser.add_argument("--seed", type=int, default=None, help="the same seed, the same files; else a new one")  # fmt: skip
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--timeout", type=float, default=20, help="seconds for one file")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so many; 0: never")
    parser.add_argument("--kinds", default="*", help="only these, such as 'bundle/*.json'")
    parser.add_argument("--replay", type=int, nargs="+", metavar="NUMBER", help="only these cases")
    parser.add_argument("--out", type=Path, default=None, help="folder for findings")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.build:
        build(asked.build)
        sys.exit(0)
    asked.seed = secrets.randbits(32) if asked.seed is None else asked.seed
    asked.out = asked.out or Path(tempfile.mkdtemp(prefix="gpt2xl-findings-"))
    return asked


if __name__ == "__main__":
    sys.exit(main())
