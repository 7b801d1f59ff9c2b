"""Open an onnxruntime session on the asked-for execution provider."""

from pathlib import Path
from typing import Any, Literal, get_args
from warnings import warn

import onnxruntime as ort

from gpt2xl.bundle.external_data import check_external_data
from gpt2xl.errors import (
    BundleError,
    Gpt2xlWarning,
    ProviderError,
    RequestError,
    first_line,
)
from gpt2xl.startup.cuda import choose_attention, load_cuda
from gpt2xl.startup.mapped_weights import MappedWeights, map_weights

Provider = Literal["cpu", "cuda", "auto"]
Device = Literal["cpu", "cuda"]
MAX_THREADS = 1024
CPU = "CPUExecutionProvider"
OpenSession = tuple[ort.InferenceSession, MappedWeights | None]


def choose_device(provider: Provider) -> Device:
    """The device that ``provider`` means here; ``auto`` is CUDA where the wheel has it, else the CPU.

    Raises:
        ProviderError: ``cuda`` with a wheel that has no CUDA.
        RequestError: not one of cpu, cuda, auto.
    """
    if provider not in get_args(Provider):
        raise RequestError(f"provider has to be one of cpu, cuda, auto, but is {provider!r}.")
    available = ort.get_available_providers()
    has_cuda = "CUDAExecutionProvider" in available
    if provider == "cuda" and not has_cuda:
        raise ProviderError(
            f"this onnxruntime {ort.__version__} has no CUDA, only {', '.join(available)}: "
            "`pip uninstall onnxruntime` and `pip install onnxruntime-gpu`, or use the cpu provider."
        )
    return "cuda" if has_cuda and provider != "cpu" else "cpu"


def session_options(threads: int = 0, spinning: bool = True) -> ort.SessionOptions:
    """Those of every session; arguments as of `open_session`."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_mem_pattern = (
        False  # one for each length of a step: up to 80 MB more, and no faster
    )
    options.log_severity_level = 4  # what fails is raised, with the same words
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    return options


def open_session(
    path: Path,
    device: Device,
    threads: int = 0,
    *,
    spinning: bool = True,
    cuda_graph: bool = False,
) -> OpenSession:
    """Load ``path``.

    Args:
        path: an ONNX file, its external data beside it.
        device: where the graph runs.
        threads: threads a single operator may use; 0 leaves it to onnxruntime.
        spinning: whether threads wait for the next operator at full speed: a little faster alone, much
            slower beside another session that runs in turn with it.
        cuda_graph: whether runs on CUDA may be captured; see `can_capture` for what became of it.

    Returns:
        The session, and the weights that it reads from a mapping of ours, which have to outlive it; None
        where onnxruntime has all of them.

    Raises:
        BundleError: onnxruntime cannot load the file.
        ProviderError: CUDA is there but does not start (driver, libraries).
    """
    if threads < 0:
        raise RequestError(f"threads has to be >= 0 (0: all cores), but is {threads}.")
    if threads > MAX_THREADS:
        raise RequestError(f"threads has to be <= {MAX_THREADS}, but is {threads}.")
    options = session_options(threads, spinning)
    check_external_data(path)
    if device == "cuda":
        return _open_on_cuda(path, options, cuda_graph=cuda_graph), None
    return _open_on_cpu(path, options)


def _open_on_cpu(path: Path, options: ort.SessionOptions) -> OpenSession:
    weights = map_weights(path)
    if weights is None:
        return _open_plain(path, options, [CPU]), None
    weights.lend(options)
    with weights.releasing():
        session = _open_plain(path, options, [CPU])
    session.weights = weights  # which it reads: they live as long
    return session, weights


def _open_on_cuda(
    path: Path, options: ort.SessionOptions, *, cuda_graph: bool
) -> ort.InferenceSession:
    load_cuda()
    choose_attention()

    def opened(capture: bool) -> ort.InferenceSession:
        cuda = ("CUDAExecutionProvider", {"enable_cuda_graph": str(int(capture))})
        return _open_plain(path, options, [cuda, CPU])

    try:
        session = opened(cuda_graph)
    except BundleError as reason:
        if not cuda_graph:
            raise
        session = opened(False)
        warn(f"'{path.name}' runs without a CUDA graph: {reason}", Gpt2xlWarning, 2)
    if "CUDAExecutionProvider" not in session.get_providers():
        raise ProviderError(
            "onnxruntime could not start CUDA: what it printed says why (GPT2XL_DEBUG=1 shows it)."
        )
    return session


def _open_plain(
    path: Path, options: ort.SessionOptions, providers: list[Any]
) -> ort.InferenceSession:
    try:
        # without its fallback, which prints
        return ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as reason:  # onnxruntime's error classes share no base but Exception
        told = first_line(reason)
        if "bad_alloc" in told:
            raise MemoryError from None
        if "CUDA failure" in told:
            raise ProviderError(f"CUDA does not start: {told}") from None
        raise BundleError(f"onnxruntime cannot load '{path}': {told}") from None


def can_capture(session: ort.InferenceSession) -> bool:
    """Whether ``session`` was opened for CUDA graphs."""
    options = session.get_provider_options().get("CUDAExecutionProvider", {})
    return bool(options.get("enable_cuda_graph") == "1")
