"""What this onnxruntime can run on."""

from typing import Literal

import onnxruntime as ort

from gpt2xl.errors import ProviderError
from gpt2xl.startup.options import Provider

Device = Literal["cpu", "cuda"]
CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
OLDEST_ONNXRUNTIME = (1, 27)  # the first that runs the int8 KV cache


def check_onnxruntime() -> None:
    """Raise ProviderError where the installed onnxruntime is too old."""
    found = tuple(map(int, ort.__version__.split(".")[:2]))
    if found < OLDEST_ONNXRUNTIME:
        oldest = ".".join(map(str, OLDEST_ONNXRUNTIME))
        raise ProviderError(
            f"gpt2xl needs onnxruntime {oldest} or newer, but this is {ort.__version__}:"
            " `pip install -U onnxruntime`."
        )


def choose_device(provider: Provider) -> Device:
    """The device that ``provider`` means here; ``auto`` is CUDA where the wheel has it, else the CPU.

    Raises:
        ProviderError: ``cuda`` with a wheel that has no CUDA.
    """
    available = ort.get_available_providers()
    has_cuda = CUDA in available
    if provider == "cuda" and not has_cuda:
        raise ProviderError(
            f"this onnxruntime {ort.__version__} has no CUDA, only {', '.join(available)}: "
            "`pip uninstall onnxruntime` and `pip install onnxruntime-gpu`, or use the cpu provider."
        )
    return "cuda" if has_cuda and provider != "cpu" else "cpu"
