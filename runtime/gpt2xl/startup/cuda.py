"""Check what onnxruntime needs for CUDA before it does: its own errors take many lines."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from ctypes import CDLL
from io import StringIO, TextIOBase
from threading import Lock, get_ident
from typing import TextIO

import onnxruntime as ort

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.errors import ProviderError

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
XQA = "ORT_ENABLE_XQA"


def check_precision(bundle: Bundle) -> None:
    """Raise ProviderError for a bundle of ours most of which CUDA could not run."""
    precision = bundle.manifest.precision if bundle.manifest else None
    if precision is not None and not precision.endswith("fp16"):
        raise ProviderError(
            "on CUDA attention is in float16 only: export with -p fp16 or -p int4-fp16."
        )


def choose_attention() -> None:
    """Make onnxruntime use flash attention for decode steps, unless the user has chosen.

    Its other kernel, XQA, is made for several query heads to one key head. GPT-2 has one each, and a step of
    64 rows takes 1.4 times as long (docs/cuda.md). Only an environment variable selects the kernel, so the choice
    holds for the whole process. It is never changed back, so that concurrent loads do not disturb each other.
    """
    os.environ.setdefault(XQA, "0")


def load_cuda() -> None:
    """Load the driver and CUDA's libraries, the latter also from pip's folders.

    Raises:
        ProviderError: names what is missing.
    """
    try:
        CDLL(DRIVER)
    except OSError:
        raise ProviderError(f"there is no NVIDIA driver here ({DRIVER}).") from None
    with (
        _printed_by_this_thread() as printed
    ):  # preload_dlls prints the libraries that it does not find
        ort.preload_dlls()
    *found, last = printed.getvalue().splitlines() or [""]
    if last.startswith("Please follow"):  # the last attempt has failed, too
        raise ProviderError(f"{found[-1]}: `pip install 'onnxruntime-gpu[cuda,cudnn]'`.")


class _OwnThreadOnly(TextIOBase):
    """Keeps what one thread writes, and passes on what other threads write."""

    def __init__(self, others: TextIO | None) -> None:
        self.own = StringIO()
        self._thread, self._others = get_ident(), others

    def write(self, text: str) -> int:
        stream = self.own if get_ident() == self._thread else self._others
        return len(text) if stream is None else stream.write(text)

    def flush(self) -> None:
        if self._others is not None:
            self._others.flush()

    def isatty(self) -> bool:
        return self._others is not None and self._others.isatty()


_stdout_lock = Lock()


@contextmanager
def _printed_by_this_thread() -> Iterator[StringIO]:
    """Collects what this thread prints in the block."""
    with _stdout_lock:
        stream = _OwnThreadOnly(sys.stdout)
        with redirect_stdout(stream):
            yield stream.own
