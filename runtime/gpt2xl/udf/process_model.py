"""One model for all functions of a process."""

import os
from functools import lru_cache
from pathlib import Path
from threading import Lock

from gpt2xl.loading import load
from gpt2xl.model import Model
from gpt2xl.startup.options import LoadOptions

KEPT = 2  # models: a process may run two functions in turn
_LOADING = Lock()  # threads of a worker begin together, and lru_cache alone would let each load


def process_model(bundle: str | Path, options: LoadOptions) -> Model:
    """The model, which this process loads once; the last two are kept.

    A forked process loads its own: the threads of onnxruntime do not survive a fork.

    Raises:
        Gpt2xlError: as of `gpt2xl.load`.
    """
    with _LOADING:
        return _loaded(str(bundle), isinstance(bundle, Path), options, os.getpid())


@lru_cache(KEPT)
def _loaded(bundle: str, is_path: bool, options: LoadOptions, process: int) -> Model:
    return load(Path(bundle) if is_path else bundle, options)
