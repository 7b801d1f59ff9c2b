"""A process that runs cases: reads their numbers from stdin, writes a line of JSON for each to stdout.

Everything else that the process writes lands in a file: what onnxruntime and Rust print, too. SIGUSR1 makes it
write where it stands, for who watches it.
"""

import faulthandler
import functools
import io
import json
import os
import resource
import shutil
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import typer.main
from tests.fuzz.cases import Case, make_case
from tests.fuzz.kinds import Command
from tests.fuzz.outcome import (
    Ended,
    Fault,
    Wrong,
    batch_texts,
    check_export,
    of_end,
    of_exception,
    result,
)

from gpt2xl_cli.native_output import keep_off_stderr

STACKS, OUT, ERR, DOING = "stacks.txt", "stdout.txt", "stderr.txt", "doing.json"
ADDRESS_SPACE = 24 << 30  # of the process, where the watch is too slow


class Worker:
    """Runs commands with file descriptors 1 and 2 redirected to files in ``home``."""

    def __init__(self, home: Path, bases: Path) -> None:
        self._home, self._bases = home, bases
        self._work = home / "work"
        self._whole: dict[tuple[str, ...], Any] = {}
        self._files = [os.open(home / name, os.O_RDWR | os.O_CREAT) for name in (OUT, ERR)]
        for target, file in enumerate(self._files, 1):
            os.dup2(file, target)
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), "utf-8", write_through=True)
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), "utf-8", "backslashreplace", write_through=True)  # fmt: skip
        keep_off_stderr()

    def run(self, words: tuple[str, ...]) -> Ended | Fault:
        """Run a command in this process; an exception is a fault."""
        from gpt2xl_cli import app

        for file in self._files:
            os.ftruncate(file, 0)
            os.lseek(file, 0, os.SEEK_SET)
        sys.argv, sys.stdin = ["gpt2xl", *words], io.TextIOWrapper(io.BytesIO(b""), "utf-8")
        try:
            app.run()
            code = 0
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 0 if exit_.code is None else 1
        except BaseException as error:  # a panic of Rust is no Exception
            return of_exception(error)
        stdout, stderr = ((self._home / name).read_bytes() for name in (OUT, ERR))
        return Ended(code, stdout, stderr)

    def case(self, seed: int, number: int) -> dict[str, Any]:
        """Run a case and return its result for the report."""
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir()
        _reset_peak()
        case = make_case(seed, number, self._bases, self._work)
        said: dict[str, Any] = {"number": number, "kind": case.kind.name, "what": case.what, "commands": 0, "refused": 0}  # fmt: skip
        for command in case.commands:
            said |= {"command": command.words, "commands": said["commands"] + 1}
            (self._home / DOING).write_text(json.dumps(said))
            before = set(self._work.iterdir())
            ended = self.run(command.words)
            fault = ended if isinstance(ended, Fault) else self._judge(case, command, ended)
            if isinstance(ended, Ended) and ended.code:
                said["refused"] += 1
                left = sorted(path.name for path in set(self._work.iterdir()) - before)
                if any(not name.endswith(".part") for name in left):  # which a batch goes on from
                    fault = fault or Fault("left behind", command.words[0], str(left))
            if fault:
                return {**said, "fault": fault, "peak": _peak()}
        return {**said, "fault": None, "peak": _peak()}

    def _judge(self, case: Case, command: Command, ended: Ended) -> Fault | None:
        if fault := of_end(command.reads, ended):
            return fault
        try:
            value = self._value(command, ended)
        except (Wrong, OSError, ValueError) as reason:
            return Fault("output", f"{command.reads}: {reason}", "")
        if case.fatal and command.reads in ("text", "json", "batch") and not ended.code:
            return Fault("accepted", f"{command.words[0]} of {case.kind.name}", f"{value!r}"[:300])
        if not case.neutral or (ended.code and case.kind.base == "adapter"):
            return None
        where = f"{command.words[0]} of {case.kind.name}"
        if ended.code:
            return Fault("refused", f"{where}, undamaged", ended.stderr.decode()[:300])
        if not command.like or value == (whole := self._of_whole(command)):
            return None
        return Fault("other result", where, f"{value!r} for {whole!r}"[:300])

    def _value(self, command: Command, ended: Ended) -> Any:
        if ended.code:
            return None
        if command.reads == "batch":
            out = Path(command.words[2])
            values = batch_texts(out)
            out.unlink()
            return values
        if command.reads == "export":
            check_export(Path(command.words[2]))
        return result(command.reads, ended.stdout)

    def _of_whole(self, command: Command) -> Any:
        """The output of the command with undamaged files."""
        if command.like not in self._whole:
            like = command._replace(words=command.like)
            ended = self.run(like.words)
            assert isinstance(ended, Ended), ended
            self._whole[command.like] = self._value(like, ended)
        return self._whole[command.like]


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Peak memory of the process in bytes since `_reset_peak`."""
    status = Path("/proc/self/status").read_text("utf-8")
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def main(home: Path, bases: Path, seed: int) -> None:
    """Run the cases whose numbers come from stdin, until it ends."""
    numbers = os.fdopen(os.dup(0), encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Building the app takes a quarter of the time of a short command; it is always the same.
    typer.main.get_command = functools.cache(typer.main.get_command)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with (home / STACKS).open("wb", 0) as stacks:
        faulthandler.enable(stacks)
        faulthandler.register(signal.SIGUSR1, stacks)
        warnings.simplefilter("always")
        worker = Worker(home, bases)
        for line in numbers:
            print(json.dumps(worker.case(seed, int(line))), file=answers, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
