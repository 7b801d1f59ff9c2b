"""What has to be there before onnxruntime can use CUDA, looked for first: onnxruntime itself tells in many lines."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from ctypes import CDLL
from io import StringIO
from threading import Lock

import onnxruntime as ort

from gpt2xl.bundle import Bundle
from gpt2xl.errors import ProviderError

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
XQA = "ORT_ENABLE_XQA"


_one_at_a_time = Lock()  # there is one environment


def check_precision(bundle: Bundle) -> None:
    """Raise ProviderError for a bundle of ours that CUDA would not run, or for the most part not."""
    if not str(bundle.manifest.get("precision", "fp16")).endswith("fp16"):
        raise ProviderError(
            "on CUDA attention is in float16 only: export with -p fp16 or -p int4-fp16."
        )


@contextmanager
def flash_decoding() -> Iterator[None]:
    """Sessions made meanwhile attend to one new position by flash attention, where the user has not chosen.

    onnxruntime's other kernel, XQA, is made for several query heads over one of keys: with one each a step of
    64 rows takes 1.4 times as long (docs/cuda.md). Only the environment tells it.
    """
    with _one_at_a_time:
        if XQA in os.environ:
            yield
            return
        os.environ[XQA] = "0"
        try:
            yield
        finally:
            del os.environ[XQA]


def load_cuda() -> None:
    """Load the driver and CUDA's libraries, these also from where pip puts them.

    Raises:
        ProviderError: names what is missing.
    """
    try:
        CDLL(DRIVER)
    except OSError:
        raise ProviderError(f"there is no NVIDIA driver here ({DRIVER}).") from None
    with redirect_stdout(StringIO()) as told:  # it prints what it does not find
        ort.preload_dlls()
    *found, last = told.getvalue().splitlines() or [""]
    if last.startswith("Please follow"):  # the last try failed, too
        raise ProviderError(f"{found[-1]}: `pip install 'onnxruntime-gpu[cuda,cudnn]'`.")
