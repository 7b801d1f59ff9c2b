"""Open one ONNX file on one device."""

from dataclasses import dataclass
from pathlib import Path
from warnings import warn

import onnxruntime as ort

from gpt2xl.bundle.external_data import check_external_data
from gpt2xl.errors import BundleError, Gpt2xlWarning, ProviderError, first_line
from gpt2xl.startup.cuda import choose_attention, load_cuda
from gpt2xl.startup.mapped_weights import MappedWeights, map_weights
from gpt2xl.startup.memory import memory_left
from gpt2xl.startup.options import LoadOptions
from gpt2xl.startup.providers import CPU, CUDA, Device
from gpt2xl.startup.session_options import session_options

PLENTY = 2.5
"""Memory left, as a multiple of the weights' size, that packing them in parallel needs: once their size for the copies,
and as much again for pages that `MappedWeights.releasing` has not released yet. With less, the system evicts pages and
reads them again."""

ProviderEntry = str | tuple[str, dict[str, str]]


@dataclass(frozen=True)
class OpenedGraph:
    """An ONNX file that onnxruntime has loaded."""

    path: Path
    session: ort.InferenceSession
    device: Device
    weights: MappedWeights | None = None
    """Weights that the session reads from our mapping; None where onnxruntime holds all of them."""
    captures_steps: bool = False
    """Whether runs may be captured as a CUDA graph and replayed."""


def open_graph(path: Path, device: Device, options: LoadOptions) -> OpenedGraph:
    """Load ``path``, an ONNX file with its external data beside it.

    Raises:
        BundleError: the file is damaged, or onnxruntime cannot load it.
        MemoryError: there is not enough memory.
        ProviderError: CUDA is there but does not start (driver, libraries).

    Warns:
        Gpt2xlWarning: the graph cannot be captured as a CUDA graph.
    """
    check_external_data(path)
    if device == "cuda":
        return _open_on_cuda(path, options)
    return _open_on_cpu(path, options)


def _open_on_cpu(path: Path, options: LoadOptions) -> OpenedGraph:
    weights = map_weights(path)
    if weights is None:
        return OpenedGraph(path, _session(path, session_options(options), [CPU]), "cpu")
    made = session_options(options, packs_in_parallel=packs_in_parallel(weights.size))
    weights.lend(made)
    with weights.releasing():
        session = _session(path, made, [CPU])
    session.weights = weights  # the session reads them: they have to live as long
    return OpenedGraph(path, session, "cpu", weights)


def packs_in_parallel(weights_size: int) -> bool:
    """Whether enough memory is left for all threads to pack weights at once."""
    left = memory_left()
    return left is not None and left >= PLENTY * weights_size


def _open_on_cuda(path: Path, options: LoadOptions) -> OpenedGraph:
    load_cuda()
    choose_attention()
    made, captures = session_options(options), options.cuda_graph
    try:
        session = _session(path, made, [_cuda(captures), CPU])
    except BundleError as reason:
        if not captures:
            raise
        session, captures = _session(path, made, [_cuda(False), CPU]), False
        warn(f"'{path.name}' runs without a CUDA graph: {reason}", Gpt2xlWarning, 2)
    if CUDA not in session.get_providers():
        raise ProviderError(
            "onnxruntime could not start CUDA: what it printed says why (GPT2XL_DEBUG=1 shows it)."
        )
    return OpenedGraph(path, session, "cuda", captures_steps=captures)


def _cuda(captures: bool) -> ProviderEntry:
    return CUDA, {"enable_cuda_graph": str(int(captures))}


def _session(
    path: Path, options: ort.SessionOptions, providers: list[ProviderEntry]
) -> ort.InferenceSession:
    try:
        # Without the fallback to other providers, which prints.
        return ort.InferenceSession(path, options, providers=providers, enable_fallback=0)
    except Exception as reason:  # onnxruntime's error classes share no base but Exception
        told = first_line(reason)
        if "bad_alloc" in told:
            raise MemoryError from None
        if "CUDA failure" in told:
            raise ProviderError(f"CUDA does not start: {told}") from None
        raise BundleError(f"onnxruntime cannot load '{path}': {told}") from None
