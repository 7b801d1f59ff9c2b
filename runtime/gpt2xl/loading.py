"""Load a bundle where it can run."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.model import Model
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.options import LoadOptions, Provider
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
            onnxruntime cannot load it.
        ProviderError: onnxruntime is too old, or CUDA was asked for and is not there, or not for this bundle.
        RequestError: an option is out of its range.
    """
    options = LoadOptions(
        provider=provider,
        threads=threads,
        spinning=spinning,
        exact_prompts=exact_prompts,
        cuda_graph=cuda_graph,
    )
    bundle = open_bundle(Path(folder))
    # onnxruntime leaves the interpreter to others while it loads.
    with ThreadPoolExecutor(1) as pool:
        tokenizer = pool.submit(Tokenizer.from_file, bundle.tokenizer)
        session = open_session(bundle, options)
        return Model(bundle.config, tokenizer.result(), session, bundle)
