"""Ctrl-C, SIGTERM and SIGHUP: one line on stderr and 128 plus the signal's number as exit status.

The process ends on the spot: an exception raised in the middle of an import may get lost or changed on
its way. What has something to tidy up runs within `tidying`, where a signal raises `Stopped`.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

MEANINGS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}
SIGNALS = [getattr(signal, name) for name in MEANINGS if hasattr(signal, name)]
ONE_STOP_SECONDS = 1.0
"""Signals so close together are meant as one: `timeout` and terminals send several."""


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


def _end_at_once(number: int, _: FrameType | None) -> None:
    stop = Stopped(number)
    with suppress(AttributeError, OSError, ValueError):  # no stderr, or a closed one
        os.write(sys.stderr.fileno(), f"error: {stop}\n".encode())
    os._exit(stop.exit_status)


@contextmanager
def tidying() -> Iterator[None]:
    """Let a signal raise `Stopped` in the block, if `install` was called."""
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
def telling(how_far: Callable[[], str]) -> Iterator[None]:
    """When the block is stopped, add to the line of error what ``how_far`` says then."""
    try:
        yield
    except (KeyboardInterrupt, Stopped) as stop:
        raise Stopped(getattr(stop, "number", signal.SIGINT), how_far()) from None


class _Raising:
    """A handler that remembers what it has raised last."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._time = float("-inf")

    def __call__(self, number: int, _: FrameType | None) -> None:
        if time.monotonic() - self._time >= ONE_STOP_SECONDS:
            self.number, self._time = number, time.monotonic()
            raise Stopped(number)
