"""What has to be there before onnxruntime can use CUDA, looked for first: onnxruntime itself tells in many lines."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from ctypes import CDLL
from io import StringIO

import onnxruntime as ort

from gpt2xl.errors import ProviderError

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
XQA = "ORT_ENABLE_XQA"


@contextmanager
def flash_decoding() -> Iterator[None]:
    """Sessions made meanwhile attend to one new position by flash attention, where the user has not chosen.

    onnxruntime's other kernel, XQA, is made for several query heads over one of keys: with one each a step of
    64 rows takes 1.4 times as long (docs/cuda.md). Only the environment tells it.
    """
    if XQA in os.environ:
        yield
        return
    os.environ[XQA] = "0"
    try:
        yield
    finally:
        os.environ.pop(XQA, None)


def load_cuda() -> None:
    """Load the driver, CUDA and cuDNN, the latter two also from where pip puts them.

    Raises:
        ProviderError: names what is missing.
    """
    try:
        CDLL(DRIVER)
    except OSError:
        raise ProviderError(f"there is no NVIDIA driver here ({DRIVER}).") from None
    with redirect_stdout(StringIO()) as told:  # it prints what it does not find
        ort.preload_dlls()
    missing = [line for line in told.getvalue().splitlines() if line.startswith("Failed to load")]
    if missing:
        raise ProviderError(f"{missing[0]}: `pip install 'onnxruntime-gpu[cuda,cudnn]'`.")
