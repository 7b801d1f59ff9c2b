"""What native libraries print on stderr: panics of tokenizers, logs of onnxruntime."""

import os
import sys


def keep_off_stderr() -> None:
    """Drop what is written to file descriptor 2 itself; Python's own stderr goes on to the terminal or file.

    Each such fault is raised, too, and becomes our one line. GPT2XL_DEBUG=1 shows everything.
    """
    if os.environ.get("GPT2XL_DEBUG") or sys.stderr is None:
        return
    try:
        own, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # closed, or too many open files
        return
    sys.stderr = open(own, "w", 1, sys.stderr.encoding, "backslashreplace")  # noqa: SIM115 for good
    os.dup2(nothing, 2)
    os.close(nothing)
