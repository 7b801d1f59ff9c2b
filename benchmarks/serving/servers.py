"""Starts and ends servers, each a process of its own."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from client import Address, fetch

START_SECONDS, END_SECONDS = 120.0, 60.0


@dataclass(frozen=True)
class Started:
    """A server that answers."""

    address: Address
    process: subprocess.Popen[bytes]

    @property
    def resident_mb(self) -> float:
        """Its resident memory."""
        return self._status("VmRSS") / 1024

    @property
    def threads(self) -> int:
        """How many it has."""
        return self._status("Threads")

    @property
    def files(self) -> int:
        """Open file descriptors."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _status(self, name: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields[name].split()[0])


def gpt2xl_command(bundle: Path, *options: str, python: str = sys.executable) -> list[str]:
    """Serves ``bundle``; without --port."""
    return [python, "-m", "gpt2xl_cli", "serve", "-m", str(bundle), *options]


def llama_command(program: Path, gguf: Path, rows: int, threads: int) -> list[str]:
    """Serves ``gguf`` with llama.cpp's server, 1024 tokens a slot, prompts never reused; without --port."""
    return [
        str(program), "-m", str(gguf), "-np", str(rows), "-c", str(1024 * rows), "-t", str(threads),
        "-tb", str(threads), "--cache-ram", "0", "-sps", "1.0",
    ]  # fmt: skip


@contextmanager
def running(command: Sequence[str]) -> Iterator[Started]:
    """A server on a free port, until the block ends; its output is thrown away.

    Raises:
        RuntimeError: it does not start.
    """
    port = _free_port()
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([*command, "--port", str(port)], stdout=quiet, stderr=quiet)
    try:
        _wait(Address(port), process)
        yield Started(Address(port), process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(address: Address, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            if asyncio.run(fetch(address, "/health"))[0] == 200:
                return
        except (OSError, asyncio.IncompleteReadError):
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{process.args!r} does not answer (exit status {process.poll()})")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
