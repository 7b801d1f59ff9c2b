"""Watch a process that runs cases: its time, its memory, its death."""

import json
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fuzz.outcome import OURS, Fault
from tests.fuzz.worker import DOING, ERR, STACKS

MEMORY = 2 << 30
FRAME = re.compile(r'File "(.*)", line (\d+) in (\w+|<\w+>)')
RECYCLE = 1000  # cases, after which a fresh process goes on
LOOK = 0.05  # seconds between looks
PATIENCE = 3  # seconds for a process to write where it stands
HARMLESS = ("traceback", "output", "refused", "other result", "left behind")


class Watched:
    """A worker process, started again if it has ended.

    Args:
        command: the process; it gets numbers, one a line, and answers each with a line of JSON.
        home: a folder of its own.
        seconds: that a case may take.
        memory: bytes that it may take.
    """

    def __init__(
        self, command: Sequence[str], home: Path, seconds: float, memory: int = MEMORY
    ) -> None:
        self._command, self._home, self._seconds, self._memory = command, home, seconds, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._cases = 0
        home.mkdir(parents=True, exist_ok=True)

    def case(self, number: int) -> dict[str, Any]:
        """Run a case and return its result."""
        process = self._started()
        assert process.stdin and process.stdout
        (self._home / DOING).unlink(missing_ok=True)
        process.stdin.write(b"%d\n" % number)
        process.stdin.flush()
        fault = self._wait(process)
        line = b"" if fault else process.stdout.readline()
        if line:
            said: dict[str, Any] = json.loads(line)
            if said["peak"] > self._memory and not said["fault"]:
                said["fault"] = Fault("memory", f"{said['kind']}", f"{said['peak'] >> 20} MB")
            self._cases += 1
            if (said["fault"] and said["fault"][0] not in HARMLESS) or self._cases >= RECYCLE:
                self.close()
            return said
        fault = fault or self._death(process)
        self.close()
        return {"number": number, "kind": "unknown", "what": "", "commands": 0, "refused": 0, **self._doing(), "fault": fault}  # fmt: skip

    def close(self) -> None:
        """End the process if it runs."""
        if process := self._process:
            process.kill()
            process.communicate()
        self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._cases = 0
            pipe = subprocess.PIPE
            with (self._home / "start.txt").open("wb") as errors:  # until the worker catches them
                self._process = subprocess.Popen(self._command, stdin=pipe, stdout=pipe, stderr=errors)  # fmt: skip
        return self._process

    def _wait(self, process: subprocess.Popen[bytes]) -> Fault | None:
        """Wait until the process answers or ends; return the fault if it had to be killed."""
        start, used = time.monotonic(), _processor_seconds(process.pid)
        assert process.stdout
        while not select.select([process.stdout], [], [], LOOK)[0]:
            memory = _memory(process.pid)
            if memory > self._memory:
                return self._stopped(process, "memory", f"{memory >> 20} MB")
            passed, busy = time.monotonic() - start, _processor_seconds(process.pid) - used
            # Neither waiting nor always busy: other processes use the CPU.
            starved = self._seconds / 20 < busy < self._seconds and passed < 10 * self._seconds
            if passed > self._seconds and not starved:
                return self._stopped(
                    process, "hang", f"no end after {passed:.0f} s, {busy:.0f} s busy"
                )
        return None

    def _stopped(self, process: subprocess.Popen[bytes], kind: str, detail: str) -> Fault:
        process.send_signal(signal.SIGUSR1)  # it writes where it stands
        end = time.monotonic() + PATIENCE
        while not self._stacks() and time.monotonic() < end:
            time.sleep(LOOK)
        time.sleep(LOOK)
        return Fault(kind, self._where(), detail)

    def _death(self, process: subprocess.Popen[bytes]) -> Fault:
        code = process.wait()
        told = [self._home / "start.txt", self._home / ERR]
        words = b"".join(path.read_bytes()[-3000:] for path in told if path.exists())
        text = words.decode("utf-8", "replace")
        if code >= 0:  # commands leave as exceptions
            return Fault("harness", f"exit status {code}", text)
        return Fault("crash", f"{signal.Signals(-code).name} at {self._where()}", text)

    def _stacks(self) -> str:
        path = self._home / STACKS
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def _where(self) -> str:
        """The last frame in our code of the stacks that the process has written."""
        frames = FRAME.findall(self._stacks())
        ours = [f"{Path(file).name}:{name}" for file, _, name in frames if file.startswith(OURS)]
        return ours[0] if ours else "unknown"

    def _doing(self) -> dict[str, Any]:
        path = self._home / DOING
        return json.loads(path.read_text("utf-8")) if path.exists() else {}


def _memory(pid: int) -> int:
    """Resident bytes; 0 if the process has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _processor_seconds(pid: int) -> float:
    """Seconds of CPU time; 0 if the process has ended."""
    try:
        values = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(values[11]) + int(values[12])) / os.sysconf("SC_CLK_TCK")
