"""Open the best graph of a bundle on the device that the options ask for."""

from warnings import warn

from gpt2xl.bundle.bundle import Bundle
from gpt2xl.errors import BundleError, Gpt2xlWarning, ProviderError
from gpt2xl.sessions.device_engine import DeviceEngineSession
from gpt2xl.sessions.engine import EngineSession
from gpt2xl.sessions.exactness import LONG_STEP
from gpt2xl.sessions.portable import PortableSession
from gpt2xl.sessions.protocol import Session
from gpt2xl.sessions.signature import check_signature
from gpt2xl.startup.cuda import check_precision
from gpt2xl.startup.graph import open_graph
from gpt2xl.startup.memory import check_memory
from gpt2xl.startup.options import LoadOptions
from gpt2xl.startup.providers import Device, check_onnxruntime, choose_device

DEFAULTS = LoadOptions()


def open_session(bundle: Bundle, options: LoadOptions = DEFAULTS) -> Session:
    """Open the engine graph of ``bundle``, or the portable one where there is no other.

    Raises:
        BundleError: a file is damaged, the graph does not fit config.json, or memory does not suffice.
        ProviderError: onnxruntime is too old, or CUDA was asked for and is not there, or not for this bundle.

    Warns:
        Gpt2xlWarning: ``auto`` falls back to the CPU, or the graph runs without a CUDA graph.
    """
    check_onnxruntime()
    device = choose_device(options.provider)
    try:
        return _open_on(bundle, device, options)
    except ProviderError as reason:
        if options.provider != "auto":
            raise
        warn(f"running on the CPU: {reason}", Gpt2xlWarning, 3)
        return _open_on(bundle, "cpu", options)


def _open_on(bundle: Bundle, device: Device, options: LoadOptions) -> Session:
    if device == "cuda":
        check_precision(bundle)
    else:
        check_memory(bundle)
    try:
        graph = open_graph(bundle.graph, device, options)
    except MemoryError:
        raise BundleError(f"not enough memory to load '{bundle.folder}'.") from None
    if bundle.engine is None:
        portable = PortableSession(graph, bundle.config)
        check_signature(portable.signature, bundle.config, in_place=False)
        return portable
    kind = EngineSession if device == "cpu" else DeviceEngineSession
    engine = kind(
        graph,
        bundle.config,
        long_step_from=bundle.long_step_from or LONG_STEP,
        exact_prompts=options.exact_prompts,
    )
    check_signature(engine.signature, bundle.config, in_place=True)
    return engine
