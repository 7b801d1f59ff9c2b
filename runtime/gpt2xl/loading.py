"""Load a bundle where it can run."""

import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path
from typing import Unpack, cast

from gpt2xl.bundle.bundle import open_bundle
from gpt2xl.bundle.demo import DEMO, demo_bundle
from gpt2xl.errors import BundleError, CheckpointError
from gpt2xl.model import Model
from gpt2xl.options.defaults import model_defaults
from gpt2xl.options.keywords import updated
from gpt2xl.sessions.opening import open_session
from gpt2xl.startup.options import LoadKeywords, LoadOptions
from gpt2xl.text.tokenizer import Tokenizer

NAMED_MODELS = (
    "gpt2xl.models"  # entry points: a function from a model's name to its bundle's folder
)
NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")  # "demo", "gpt2-xl", "owner/name"


def load(
    folder: str | Path,
    options: LoadOptions | None = None,
    **keywords: Unpack[LoadKeywords],
) -> Model:
    """Load a model; several threads may load at once.

    >>> load("demo", threads=1).config.n_layer
    6

    Args:
        folder: what `gpt2xl export` wrote, or any folder with a GPT-2 config.json, tokenizer.json and an ONNX
            graph with past-key-value inputs (optimum's, for instance). A str that is no folder may name a
            model: ``demo``, or one on the hub such as ``gpt2-xl`` or ``owner/name``, whose bundle is made at the
            first use, which needs the extras ``export`` and ``hub``.
        options: where and how to load.
        **keywords: fields of `LoadOptions`, which replace those of ``options``.

    Warns:
        Gpt2xlWarning: ``provider`` "auto" falls back to the CPU, or CUDA runs without a CUDA graph.

    Raises:
        BundleError: there is no such folder or model, it is incomplete, too large for the memory this process may have,
            or onnxruntime cannot load it.
        ExportError: the bundle of a named model cannot be made, or its extra is not installed.
        ProviderError: CUDA was asked for and is not there, or not for this bundle.
        RequestError: an option out of its range.
        TypeError: an option that does not exist.
    """
    options = updated(LoadOptions() if options is None else options, keywords)
    bundle = open_bundle(_folder(folder))
    # onnxruntime releases the interpreter's lock while it loads.
    with ThreadPoolExecutor(1) as pool:
        tokenizer = pool.submit(Tokenizer.from_file, bundle.tokenizer)
        session = open_session(bundle, options)
        defaults = None if options.generation_config == "none" else model_defaults(bundle.folder)
        return Model(bundle.config, tokenizer.result(), session, bundle, defaults)


def _folder(folder: str | Path) -> Path:
    """``folder``, or the one of the model that it names."""
    if not isinstance(folder, str | Path):
        raise TypeError(f"a model is named by a str or a Path, not by {folder!r}.")
    if isinstance(folder, Path) or os.path.exists(folder) or not NAME.fullmatch(folder):
        return Path(folder)
    if folder == DEMO and (bundle := demo_bundle()):
        return bundle
    found = next(iter(entry_points(group=NAMED_MODELS)), None)
    if found is None:
        raise BundleError(
            f"'{folder}' is not a folder. To load models by name: pip install 'gpt2xl[export,hub]'."
        )
    try:
        return cast(Callable[[str], Path], found.load())(folder)
    except CheckpointError as reason:
        raise BundleError(
            f"'{folder}' is not a folder, and not a model to load: {reason}"
        ) from None
