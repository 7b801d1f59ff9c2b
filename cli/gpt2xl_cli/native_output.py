"""Hide what native libraries print on stderr: panics of tokenizers, logs of onnxruntime."""

import os
import sys


def keep_off_stderr() -> None:
    """Discard writes to file descriptor 2, except those of Python's ``sys.stderr``.

    The faults that libraries print there are raised as exceptions, too, and become our one error line.
    GPT2XL_DEBUG=1 shows everything.
    """
    if os.environ.get("GPT2XL_DEBUG") or sys.stderr is None:
        return
    try:
        real, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # closed, or too many open files
        return
    sys.stderr = open(real, "w", 1, sys.stderr.encoding, "backslashreplace")  # noqa: SIM115  # stays open
    os.dup2(nothing, 2)
    os.close(nothing)
