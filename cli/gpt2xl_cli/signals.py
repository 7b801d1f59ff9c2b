"""End on Ctrl-C, SIGTERM and SIGHUP with one line on stderr and exit status 128 + signal number.

By default the process exits inside the handler, because an exception raised in the middle of an import
may be lost or replaced. Code that has to clean up runs within `cleaning_up`, where a signal raises
`Stopped` instead.
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
"""Signals that follow within this time count as one: `timeout` and terminals send several."""
STUCK_SECONDS = 5.0
"""How long a native call may continue after a signal before the process is ended anyway."""
_handled = Semaphore(0)


class Stopped(BaseException):
    """A signal asked the process to end. Not an Exception, and unlike KeyboardInterrupt not caught by typer."""

    def __init__(self, number: int, detail: str = "") -> None:
        meaning = MEANINGS[signal.Signals(number).name]
        super().__init__(f"{meaning}: {detail}" if detail else f"{meaning}.")
        self.number = number

    @property
    def exit_status(self) -> int:
        """The status that a shell reports for a process that this signal ended."""
        return 128 + self.number


def install() -> None:
    """Install handlers, except for signals that are ignored (as `nohup` does with SIGHUP)."""
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _end_at_once)
    if hasattr(os, "set_blocking"):
        _watch()


def _watch() -> None:
    """End the process when a handler cannot run because a native call does not return to Python."""
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
    """Within the block, signals raise `Stopped`, so that ``finally`` runs. No effect without `install`."""
    handler = _Raising()
    taken = [number for number in SIGNALS if signal.getsignal(number) is _end_at_once]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield
    except Exception:
        if handler.number is None:
            raise
        raise Stopped(handler.number) from None  # a C extension replaced our exception
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


@contextmanager
def on_interrupt(action: Callable[[], object]) -> Iterator[None]:
    """Within the block, Ctrl-C calls ``action`` and does nothing else."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        _handled.release()
        action()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def on_stop(action: Callable[[Stopped], object]) -> Iterator[None]:
    """Within the block, SIGTERM and SIGHUP call ``action``: an event loop would swallow what a handler raises."""

    def handle(number: int, _frame: FrameType | None) -> None:
        _handled.release()
        action(Stopped(number))

    taken = [number for number in SIGNALS if number != signal.SIGINT]
    before = {n: signal.signal(n, handle) for n in taken if signal.getsignal(n) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def watch_kept() -> Iterator[None]:
    """Within the block, code may set a wakeup file of its own, as asyncio does; afterwards signals are watched again."""
    watched = signal.set_wakeup_fd(-1)
    try:
        yield
    finally:
        signal.set_wakeup_fd(watched, warn_on_full_buffer=False)


class _Raising:
    """A handler that raises `Stopped` and remembers the signal."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._time = float("-inf")

    def __call__(self, number: int, _: FrameType | None) -> None:
        _handled.release()
        if time.monotonic() - self._time >= ONE_STOP_SECONDS:
            self.number, self._time = number, time.monotonic()
            raise Stopped(number)
