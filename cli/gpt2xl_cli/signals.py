"""Ctrl-C, SIGTERM and SIGHUP: one line on stderr and 128 plus the signal's number as exit status.

The process ends on the spot: an exception raised in the middle of an import may get lost or changed on
its way. What has something to tidy up runs within `cleaning_up`, where a signal raises `Stopped`.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Semaphore, Thread
from types import FrameType

MEANINGS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}
SIGNALS = [getattr(signal, name) for name in MEANINGS if hasattr(signal, name)]
ONE_STOP_SECONDS = 1.0
"""Signals so close together are meant as one: `timeout` and terminals send several."""


STUCK_SECONDS = 5.0
"""How long a native call may take to end after a signal."""
_handled = Semaphore(0)


class Stopped(BaseException):
    """A signal asks to end; not an Exception, and nothing that typer has its own way with."""

    def __init__(self, number: int, detail: str = "") -> None:
        meaning = MEANINGS[signal.Signals(number).name]
        super().__init__(f"{meaning}: {detail}" if detail else f"{meaning}.")
        self.number = number

    @property
    def exit_status(self) -> int:
        """What a shell says of a process that this signal has ended."""
        return 128 + self.number


def install() -> None:
    """Handle the signals that are not ignored, as SIGHUP is after `nohup`."""
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _end_at_once)
    if hasattr(os, "set_blocking"):
        _watch()


def _watch() -> None:
    """End the process where a handler cannot run: Python waits for the native call that it is in."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while number := os.read(reading, 1):
            if number[0] in SIGNALS and not _handled.acquire(timeout=STUCK_SECONDS):
                _end_at_once(number[0], None)

    Thread(target=watch, name="gpt2xl-signals", daemon=True).start()


def _end_at_once(number: int, _: FrameType | None) -> None:
    stop = Stopped(number)
    with suppress(AttributeError, OSError, ValueError):  # no stderr, or a closed one
        os.write(sys.stderr.fileno(), f"error: {stop}\n".encode())
    os._exit(stop.exit_status)


@contextmanager
def cleaning_up() -> Iterator[None]:
    """In the block, signals raise `Stopped`, so that ``finally`` runs; if `install` was called."""
    handler = _Raising()
    taken = [number for number in SIGNALS if signal.getsignal(number) is _end_at_once]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    except Exception:
        if handler.number is None:
            raise
        raise Stopped(handler.number) from None  # what a C extension has made of it
    finally:
        for number in taken:
            signal.signal(number, _end_at_once)


@contextmanager
def with_detail(detail: Callable[[], str]) -> Iterator[None]:
    """If a signal stops the block, append ``detail()`` to the error line."""
    try:
        yield
    except (KeyboardInterrupt, Stopped) as stop:
        raise Stopped(getattr(stop, "number", signal.SIGINT), detail()) from None


class _Raising:
    """A handler that remembers what it has raised last."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._time = float("-inf")

    def __call__(self, number: int, _: FrameType | None) -> None:
        _handled.release()
        if time.monotonic() - self._time >= ONE_STOP_SECONDS:
            self.number, self._time = number, time.monotonic()
            raise Stopped(number)
