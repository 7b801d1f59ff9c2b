"""What has to be there before onnxruntime can use CUDA, looked for first: onnxruntime itself tells in many lines."""

import sys
from contextlib import redirect_stdout
from ctypes import CDLL
from io import StringIO

import onnxruntime as ort

from gpt2xl.errors import ProviderError

DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


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
