"""Load a bundle where it can run."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from warnings import warn

from gpt2xl.bundle.bundle import Bundle, check_int8_cache, open_bundle
from gpt2xl.errors import BundleError, Gpt2xlWarning, ProviderError
from gpt2xl.model import Model
from gpt2xl.sessions.protocol import open_best
from gpt2xl.startup.cuda import check_precision
from gpt2xl.startup.memory import check_memory
from gpt2xl.startup.providers import Device, Provider, choose_device
from gpt2xl.text.tokenizer import Tokenizer


def load(
    folder: str | Path,
    *,
    provider: Provider = "auto",
    threads: int = 0,
    spinning: bool = True,
    exact_prompts: bool = False,
    cuda_graph: bool = True,
) -> Model:
    """Load the bundle in ``folder``; several threads may load at once.

    Args:
        folder: what `gpt2xl export` wrote, or any folder with a GPT-2 config.json, tokenizer.json
            and an ONNX graph with past-key-value inputs (optimum's, for instance).
        provider: ``cpu``, ``cuda``, or ``auto``: CUDA where onnxruntime has it, it starts, and the bundle is in
            float16.
        threads: threads for one operator; 0 leaves it to onnxruntime.
        spinning: whether threads wait for work at full speed; False for a model that guesses for another
            one (``draft``), or their threads get into each other's way.
        exact_prompts: with an int8 KV cache, whether prompts are attended to as single tokens are, so that
            it changes no bit in how many steps they are fed; up to 1.5 times as slow.
        cuda_graph: on CUDA, whether the step that makes a token is captured once and then replayed.

    Warns:
        Gpt2xlWarning: ``auto`` goes on without CUDA, or CUDA without a CUDA graph.

    Raises:
        BundleError: the folder is incomplete, too large for the memory this process may have, or
            onnxruntime cannot load it or is too old for its int8 KV cache.
        ProviderError: CUDA was asked for and is not there, or not for this bundle.
    """
    load_on = partial(
        _load_on,
        open_bundle(Path(folder)),
        threads=threads,
        spinning=spinning,
        exact_prompts=exact_prompts,
        cuda_graph=cuda_graph,
    )
    try:
        return load_on(device=choose_device(provider))
    except ProviderError as reason:
        if provider != "auto":
            raise
        warn(f"running on the CPU: {reason}", Gpt2xlWarning, 2)
        return load_on(device="cpu")


def _load_on(
    bundle: Bundle,
    device: Device,
    threads: int,
    *,
    spinning: bool,
    exact_prompts: bool,
    cuda_graph: bool,
) -> Model:
    check_int8_cache(bundle)
    if device == "cuda":
        check_precision(bundle)
    else:
        check_memory(bundle)
    # onnxruntime leaves the interpreter to others while it loads.
    with ThreadPoolExecutor(1) as pool:
        tokenizer = pool.submit(Tokenizer.from_file, bundle.tokenizer)
        try:
            session = open_best(
                bundle,
                device,
                threads,
                spinning=spinning,
                exact_prompts=exact_prompts,
                cuda_graph=cuda_graph,
            )
        except MemoryError:
            raise BundleError(f"not enough memory to load '{bundle.folder}'.") from None
        return Model(bundle.config, tokenizer.result(), session, bundle)
