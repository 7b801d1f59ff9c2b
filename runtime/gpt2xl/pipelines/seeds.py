"""Where pipeline calls without a seed take theirs from."""

import secrets
from threading import Lock

import numpy as np

from gpt2xl.startup.options import checked_integer


class SeedSource:
    """Draws seeds; several threads may share one.

    >>> source = SeedSource()
    >>> source.restart(42)
    >>> first = [source.draw(), source.draw()]
    >>> source.restart(42)
    >>> [source.draw(), source.draw()] == first
    True
    """

    def __init__(self) -> None:
        self._generator: np.random.Generator | None = None
        self._lock = Lock()

    def restart(self, seed: int) -> None:
        """Start the sequence of seeds that follows from ``seed``; raises RequestError where it is no integer >= 0."""
        generator = np.random.default_rng(checked_integer("seed", seed, 0))
        with self._lock:
            self._generator = generator

    def draw(self) -> int:
        """The next seed, from 0 to 2**32 - 1; a random one before the first `restart`."""
        with self._lock:
            if self._generator is None:
                return secrets.randbits(32)
            return int(self._generator.integers(2**32))


SEEDS = SeedSource()
"""The only state of the library that its callers share: `set_seed` restarts it, and each pipeline call that draws and has
no ``seed`` takes one number."""


def set_seed(seed: int) -> None:
    """Make the pipeline calls that follow give the same texts each time, as transformers' ``set_seed``.

    Only pipelines are concerned: `Model.generate` has its option ``seed``. The texts are not those of PyTorch for the same
    seed. Calls from several threads share one sequence of seeds: give those ``seed=``.

    >>> from gpt2xl import pipeline
    >>> generator = pipeline("text-generation", model=model, max_new_tokens=8)
    >>> set_seed(42)
    >>> first = generator("The king")
    >>> set_seed(42)
    >>> generator("The king") == first
    True

    Raises:
        RequestError: not an integer >= 0.
    """
    SEEDS.restart(seed)
